"""YAML file, its base and `key=value` overrides -> validated `Config`, and where each value came from."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from integral_pose.config.keys import join_key, split_key, suggestion
from integral_pose.config.messages import config_error
from integral_pose.config.origins import Origins, forget, origin_of
from integral_pose.config.overrides import apply_override
from integral_pose.config.schema import Config
from integral_pose.config.strict_yaml import MAX_BYTES, KeyPath, format_value, parse_document
from integral_pose.config.text import decode_text
from integral_pose.errors import ConfigError


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration, and of each of its values 'file:line', 'base file:line', 'command line' or 'default'."""

    config: Config
    origins: dict[str, str]

    def get(self, key: str) -> str:
        """The value of one dotted key as text. Raises ConfigError if there is no such key."""
        if key in self.origins:
            value: Any = self.config.model_dump()
            for part in split_key(key):
                value = value[part]
            return value if isinstance(value, str) else format_value(value)
        if inside := [name for name in self.origins if name.startswith(f"{key}.")]:
            raise ConfigError(f"'{key}' is a section; it has: {', '.join(inside)}")
        raise ConfigError(f"there is no key '{key}'{suggestion(split_key(key))}")

    def describe(self) -> str:
        """The resolved configuration as YAML, the origin of each value in a comment behind it."""
        rows = list(_render(self.config.model_dump()))
        width = min(60, max(len(text) for text, _ in rows))
        return "".join(f"{text:<{width}}  # {self.origins[key]}\n" if key else f"{text}\n" for text, key in rows)


def load_config(path: str, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Read, put over its base, override and validate an experiment file, or one that is packaged, called like `demo`.

    Raises ConfigError naming file, line, key, what was expected and the nearest known key; all faults at once.
    """
    path = _packaged(path) or path
    values, origins = _parse(_read(path), path)
    if "base" in values:
        values, origins = _put_over_base(values, origins, path)
    return _validate(values, origins, path, overrides)


def load_config_text(text: str, source: str, overrides: Sequence[str]) -> LoadedConfig:
    """As `load_config`, of a complete text that comes from `source`; it has no base."""
    return _validate(*_parse(text, source), source, overrides)


def to_yaml(config: Config) -> str:
    """The resolved configuration as a YAML file that can be trained from again."""
    return "".join(f"{text}\n" for text, _ in _render(config.model_dump()))


def _packaged(name: str) -> str | None:
    """The path of the packaged configuration of that name; those of a clone lie beside the package."""
    package = Path(__file__).parents[1]
    folder = next((each for each in (package / "configs", package.parent / "configs") if each.is_dir()), None)
    if folder is None or not re.fullmatch(r"\w+", name) or Path(name).exists():
        return None
    path = folder / f"{name}.yaml"
    return str(path) if path.is_file() else None


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:  # no more than is taken: a device never ends
            content, is_all = file.read(MAX_BYTES + 1), file.read(1) == b""
        return decode_text(content, "strict" if is_all else "replace")
    except FileNotFoundError:
        known = sorted(str(p) for p in Path("configs").glob("*.yaml"))
        hint = f"; there are: {', '.join(known)}" if known else ""
        raise ConfigError(f"{path}: there is no such configuration file{hint}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; expected a YAML file") from None
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name with a NUL
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def _parse(text: str, source: str) -> tuple[dict[str, Any], Origins]:
    values, lines = parse_document(text, source)
    return values, {key: f"{source}:{line}" for key, line in lines.items()}


def _put_over_base(values: dict[str, Any], origins: Origins, path: str) -> tuple[dict[str, Any], Origins]:
    name, where = values.pop("base"), origins.pop(("base",))
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where}: base: expected the path of a configuration file, found {name!r}")
    base_path = str(Path(path).parent / Path(name).expanduser())
    try:
        text = _read(base_path)
    except ConfigError as error:
        raise ConfigError(f"{where}: base: {error}") from None
    base, base_origins = _parse(text, f"base {base_path}")
    if "base" in base:
        raise ConfigError(
            f"{where}: base: {base_path} has a base of its own (line {base_origins['base',].rpartition(':')[2]}), but "
            "one level is all there is; name a file that has none"
        )
    _merge(values, origins, base, base_origins, ())
    return base, base_origins


def _merge(
    values: dict[str, Any], origins: Origins, base: dict[str, Any], base_origins: Origins, path: KeyPath
) -> None:
    """Put `values` into `base`: sections key by key, anything else, lists too, as a whole."""
    for key, value in values.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            base_origins[here] = origins[here]
            _merge(value, origins, base[key], base_origins, here)
        else:
            base[key] = value
            forget(base_origins, here)
            base_origins.update({known: origin for known, origin in origins.items() if known[: len(here)] == here})


def _validate(values: dict[str, Any], origins: Origins, source: str, overrides: Sequence[str]) -> LoadedConfig:
    for override in overrides:
        apply_override(values, origins, override)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise config_error(error, origins, source) from None
    keys = [key for _, key in _render(config.model_dump()) if key]
    return LoadedConfig(config, {key: origin_of(split_key(key), origins) for key in keys})


def _render(value: dict[str, Any], path: KeyPath = ()) -> Iterator[tuple[str, str]]:
    """Lines of YAML with the dotted key whose value is on them ('' on lines that open a section)."""
    for key, item in value.items():
        here = (*path, key)
        indent = "  " * len(path)
        if isinstance(item, dict):
            yield f"{indent}{key}:", ""
            yield from _render(item, here)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            yield f"{indent}{key}:", ""
            for i, entry in enumerate(item):
                for n, (text, entry_key) in enumerate(_render(entry, (*here, i))):
                    yield (f"{indent}  - {text.strip()}" if n == 0 else text), entry_key
        else:
            yield f"{indent}{key}: {format_value(item)}", join_key(here)
