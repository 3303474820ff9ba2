"""`key=value` of the command line, put into the values of a file."""

from typing import Any

from integral_pose.config.keys import is_optional, is_text, join_key, split_key, suggestion
from integral_pose.config.origins import COMMAND_LINE, Origins, forget
from integral_pose.config.strict_yaml import KeyPath, parse
from integral_pose.errors import ConfigError


def apply_override(values: dict[str, Any], origins: Origins, override: str) -> None:
    """Set one key, in place. A text key takes the text as it is; the others take YAML."""
    key, separator, text = override.partition("=")
    key = key.strip()
    if not separator or not key:
        raise ConfigError(f"'{override}': expected key=value, for example trainer.batch_size=64")
    path = split_key(key)
    value, inner = _read_value(path, text, key)
    try:
        _set(values, path, value)
    except ConfigError as error:
        raise ConfigError(f"'{override}': {error}") from None
    forget(origins, path)
    origins.update({(*path, *below): COMMAND_LINE for below in [(), *inner]})


def _read_value(path: KeyPath, text: str, key: str) -> tuple[Any, list[KeyPath]]:
    """The value, and the keys inside it."""
    if is_text(path):
        return None if text == "null" and is_optional(path) else text, []
    value, lines = parse(text, f"{COMMAND_LINE}, {key}")
    return value, list(lines)


def _set(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    target: Any = values
    for depth, part in enumerate(path):
        name = join_key(path[:depth])
        if isinstance(target, list):
            if not isinstance(part, int) or part >= len(target):
                raise ConfigError(f"{name} is a list of {len(target)}; its entries are 0 to {len(target) - 1}")
        elif not isinstance(target, dict):
            raise ConfigError(f"{name} is a single value and has no keys of its own")
        elif target.get(part) is None and depth < len(path) - 1:
            _refuse_entry_of_nothing(path[: depth + 2])
            target[part] = {}
        if depth == len(path) - 1:
            target[part] = value
        target = target[part]


def _refuse_entry_of_nothing(path: KeyPath) -> None:
    """A section is made where it is missing, a list is not."""
    if isinstance(path[-1], int):
        name = join_key(path[:-1])
        if near := suggestion(path[:-1]):
            raise ConfigError(f"unknown key '{name}'{near}")
        raise ConfigError(f"{name} is not in the file; set it as a whole: {name}=[...]")
