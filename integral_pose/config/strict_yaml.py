"""YAML read the way people mean it: no silent last key, no text that looks like a number, no hidden growth.

Departures from plain YAML 1.1, each because its silence costs an experiment: a key may stand once in a
mapping; `1e-3` is a number; `yes`, `no`, `on`, `off` and `017` are text; anchors and tags are refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from integral_pose.errors import ConfigError

MAX_BYTES = 20_000  # ten times what is needed; parsing takes 20 s a million bytes
MAX_DEPTH = 20

Path = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """Safe loader with the implicit types of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9]\d*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


def parse_document(text: str, source: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """The mapping in `text`, and the line of every key and list entry in it (from 1).

    Raises ConfigError naming `source` and the line.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ConfigError(f"{source}: larger than {MAX_BYTES:,} bytes; this is no configuration file")
    node = _compose(text, source)
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{source}: expected a mapping of 'key: value' lines at the top level")
    lines: dict[Path, int] = {}
    return _convert(node, (), lines, source), lines


def parse_value(text: str, source: str) -> Any:
    """One value, as it would stand behind a key."""
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{source}: larger than {MAX_BYTES:,} bytes; this is no value")
    node = _compose(text, source)
    return None if node is None else _convert(node, (), {}, source)


def _refuse_deep_brackets(text: str, source: str) -> None:
    """PyYAML takes time that grows with the square of open brackets before it says anything."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "[{") - (character in "]}")
        if depth > MAX_DEPTH:
            line = text.count("\n", 0, at) + 1
            raise ConfigError(f"{source}:{line}: nested deeper than {MAX_DEPTH} levels")


def _compose(text: str, source: str) -> yaml.Node | None:
    _refuse_deep_brackets(text, source)
    depth = 0
    try:
        # The events are checked first: composing deep nesting would recurse, and aliases would multiply.
        for event in yaml.parse(text, Loader=_Loader):
            line = event.start_mark.line + 1  # type: ignore[union-attr]
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise ConfigError(f"{source}:{line}: anchors and aliases are not used here; write the value out")
            if tag := getattr(event, "tag", None):
                raise ConfigError(f"{source}:{line}: tags such as {tag!r} are not allowed")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ConfigError(f"{source}:{line}: nested deeper than {MAX_DEPTH} levels")
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
        return node
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark or error.context_mark).line + 1  # type: ignore[union-attr]
        raise ConfigError(f"{source}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from None


def _convert(node: yaml.Node, path: Path, lines: dict[Path, int], source: str) -> Any:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[(*path, i)] = item.start_mark.line + 1
        return [_convert(item, (*path, i), lines, source) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, key_line = str(key_node.value), key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{source}:{key_line}: a key must be plain text")
            if key in mapping:
                first = lines[(*path, key)]
                name = ".".join(map(str, (*path, key)))
                raise ConfigError(f"{source}:{key_line}: '{name}' is given twice; the first is in line {first}")
            lines[(*path, key)] = key_line
            mapping[key] = _convert(value_node, (*path, key), lines, source)
        return mapping
    return _scalar(node, f"{source}:{line}")


def _scalar(node: yaml.Node, where: str) -> Any:
    text = str(node.value)
    match node.tag.rpartition(":")[2]:
        case "bool":
            return text == "true"
        case "null":
            return None
        case "int":
            if len(text) > 20:
                raise ConfigError(f"{where}: the number {text[:20]}... is too long")
            return int(text)
        case "float":
            return float(text)
    return text
