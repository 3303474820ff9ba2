"""YAML file + `key=value` overrides -> validated `Config`, and where each value came from."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from integral_pose.config.schema import Config
from integral_pose.config.strict_yaml import MAX_BYTES, parse_document, parse_value
from integral_pose.errors import ConfigError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration with the origin of each of its values: 'file:line', 'command line' or 'default'."""

    config: Config
    origins: dict[str, str]

    def get(self, key: str) -> str:
        """The value of one dotted key as text. Raises ConfigError if there is no such key."""
        values = self.config.model_dump()
        for name, path in _leaves(values):
            if name == key:
                value: Any = values
                for part in path:
                    value = value[part]
                return value if isinstance(value, str) else _scalar(value)
        if inside := [name for name in self.origins if name.startswith(f"{key}.")]:
            raise ConfigError(f"'{key}' is a section; it has: {', '.join(inside)}")
        near = difflib.get_close_matches(key, list(self.origins), n=1)
        raise ConfigError(f"there is no key '{key}'" + (f"; did you mean '{near[0]}'?" if near else ""))

    def describe(self) -> str:
        """The resolved configuration as YAML, the origin of each value in a comment behind it."""
        rows = list(_render(self.config.model_dump(), (), self.origins))
        width = min(60, max(len(text) for text, _ in rows))
        return "\n".join(f"{text:<{width}}  # {origin}" if origin else text for text, origin in rows) + "\n"


def load_config(path: str, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Read, override and validate an experiment file.

    Raises ConfigError naming file, line, key, what was expected and the nearest known key; all faults at once.
    """
    try:
        with Path(path).open("rb") as file:  # no more than is taken: a device never ends
            text = file.read(MAX_BYTES + 1).decode("utf-8", "strict" if file.read(1) == b"" else "replace")
    except FileNotFoundError:
        known = sorted(str(p) for p in Path("configs").glob("*.yaml"))
        hint = f"; there are: {', '.join(known)}" if known else ""
        raise ConfigError(f"{path}: there is no such configuration file{hint}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; expected a YAML file") from None
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name with a NUL
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    return load_config_text(text, path, overrides)


def load_config_text(text: str, source: str, overrides: Sequence[str]) -> LoadedConfig:
    """As `load_config`, of text that comes from `source`."""
    values, lines = parse_document(text, source)
    origins: dict[KeyPath, str] = {key: f"{source}:{line}" for key, line in lines.items()}
    for override in overrides:
        _apply_override(values, origins, override)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        faults = [_fault(dict(e), origins, source) for e in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(faults))) from None
    return LoadedConfig(config, {key: _origin(path, origins) for key, path in _leaves(config.model_dump())})


def to_yaml(config: Config) -> str:
    """The resolved configuration as a YAML file that can be trained from again."""
    return "\n".join(text for text, _ in _render(config.model_dump(), (), {})) + "\n"


def _apply_override(values: dict[str, Any], origins: dict[KeyPath, str], override: str) -> None:
    dotted, separator, text = override.partition("=")
    if not separator or not dotted.strip():
        raise ConfigError(f"'{override}': expected key=value, for example trainer.batch_size=64")
    path = _key_path(dotted.strip())
    value = parse_value(text, f"command line, {dotted}")
    target: Any = values
    for depth, part in enumerate(path[:-1]):
        if isinstance(target, list):
            target = _list_item(target, part, path[: depth + 1], override)
        elif target.get(part) is None:
            if isinstance(path[depth + 1], int):
                name = ".".join(map(str, path[: depth + 1]))
                raise ConfigError(f"'{override}': {name} is not in the file; set it as a whole: {name}=[...]")
            target[part] = {}
            target = target[part]
        else:
            target = target[part]
        if not isinstance(target, (dict, list)):
            name = ".".join(map(str, path[: depth + 1]))
            raise ConfigError(f"'{override}': {name} is a single value and has no keys of its own")
    if isinstance(target, list):
        _list_item(target, path[-1], path, override)
    target[path[-1]] = value
    for known in [key for key in origins if key[: len(path)] == path]:
        del origins[known]
    origins[path] = "command line"


def _key_path(dotted: str) -> KeyPath:
    return tuple(int(part) if part.isdecimal() else part for part in dotted.split("."))


def _list_item(items: list[Any], part: str | int, path: KeyPath, override: str) -> Any:
    if not isinstance(part, int) or part >= len(items):
        name = ".".join(map(str, path[:-1]))
        raise ConfigError(f"'{override}': {name} is a list of {len(items)}; its entries are 0 to {len(items) - 1}")
    return items[part]


def _origin(path: KeyPath, origins: dict[KeyPath, str]) -> str:
    """The command line where it changed an entry of `path`, else the nearest key at or above that was set."""
    if any(key[: len(path)] == path and origin == "command line" for key, origin in origins.items()):
        return "command line"
    if path in origins:
        return origins[path]
    for depth in range(len(path) - 1, 0, -1):
        if origins.get(path[:depth]) == "command line":
            return "command line"
    return "default"


def _fault(error: dict[str, Any], origins: dict[KeyPath, str], source: str) -> str:
    path: KeyPath = tuple(error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    # A rule over several keys belongs to a section; its text starts with the key to look at.
    nearest = (*path, *_key_path(message.partition(" ")[0])) if error["type"] == "value_error" else path
    where = _origin(nearest, origins)
    if where == "default":
        where = next((origins[nearest[:n]] for n in range(len(nearest), 0, -1) if nearest[:n] in origins), source)
    name = ".".join(map(str, path))
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key '{name}'{_suggestion(path)}"
    if error["type"] == "missing":
        return f"{where}: the key '{name}' is missing"
    if error["type"] == "model_type":
        return f"{where}: {name}: expected a section with keys of its own, found {_shown(error['input'])}"
    for pydantic_words, words in (("Input should be", "expected"), ("List should have", "expected")):
        message = message.replace(pydantic_words, words).replace(" after validation", "")
    found = "" if isinstance(error["input"], (dict, BaseModel)) else f", found {_shown(error['input'])}"
    return f"{where}: {name}: {message}{found}" if path else f"{where}: {message}{found}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _suggestion(path: KeyPath) -> str:
    section = _section(path[:-1])
    known = list(section.model_fields) if section else []
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    if near:
        return f"; did you mean '{'.'.join(map(str, (*path[:-1], near[0])))}'?"
    elsewhere = [".".join(key) for key in _schema_keys(Config) if key[-1] == path[-1]]
    if elsewhere:
        return f"; did you mean '{elsewhere[0]}'?"
    return f"; known here: {', '.join(known)}" if known else ""


def _section(path: KeyPath) -> type[BaseModel] | None:
    model: type[BaseModel] = Config
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _model_of(field.annotation) if field else None
        if inner is None:
            return None
        model = inner
    return model


def _schema_keys(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*path, name)
        if (inner := _model_of(field.annotation)) is not None:
            yield from _schema_keys(inner, (*path, name))


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_of(arg))), None)


def _leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[str, KeyPath]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for i, item in enumerate(value):
            yield from _leaves(item, (*path, i))
    else:
        yield ".".join(map(str, path)), path


def _render(value: dict[str, Any], path: KeyPath, origins: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Lines of YAML with the origin of the value on them ('' on lines that open a section)."""
    for key, item in value.items():
        here = (*path, key)
        indent = "  " * len(path)
        if isinstance(item, dict):
            yield f"{indent}{key}:", ""
            yield from _render(item, here, origins)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            yield f"{indent}{key}:", ""
            for i, entry in enumerate(item):
                for n, (text, origin) in enumerate(_render(entry, (*here, i), origins)):
                    yield (f"{indent}  - {text.strip()}" if n == 0 else text), origin
        else:
            yield f"{indent}{key}: {_scalar(item)}", origins.get(".".join(map(str, here)), "")


def _scalar(value: Any) -> str:
    """One value in YAML that `strict_yaml` reads back unchanged."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_scalar, value)) + "]"
    text = str(value)
    plain = bool(text) and text.isprintable() and not set(text) & set(":#{}[],&*!|>'\"%@`\\") and text == text.strip()
    if plain and not text.startswith(("-", "?")) and parse_value(text, "") == text:
        return text
    # A JSON string is a YAML string, but for unprintable characters that JSON alone takes as they are.
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(character if character.isprintable() else f"\\U{ord(character):08x}" for character in quoted)
