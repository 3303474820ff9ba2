"""YAML without its surprises: no silent last key, no text that looks like a number, no hidden growth.

Departures from plain YAML 1.1, each because its silence costs an experiment: a key may stand once in a
mapping; `1e-3` is a number; `yes`, `no`, `on`, `off` and `017` are text; anchors and tags are refused.
"""

import json
import re
from typing import Any

import yaml

from integral_pose.errors import ConfigError

MAX_BYTES = 20_000  # ten times what is needed; parsing takes 20 s a million bytes
MAX_DEPTH = 20
MAX_DIGITS = 20
PLAIN = re.compile(r"[\w./~+](?:[\w./~+ =()-]*[\w./~+=()-])?")  # texts that need no quotation marks

KeyPath = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """Safe loader with the implicit types of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self.source = source
        self.depth = 0

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        """Refuse deep brackets while they are read: the time for them grows with their square."""
        if self.flow_level >= MAX_DEPTH:
            raise ConfigError(f"{self.source}:{self.line + 1}: nested deeper than {MAX_DEPTH} levels")
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse an event before a node is made of it: nesting would recurse, and aliases would multiply."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise self.error(event, "anchors and aliases are not used here; write the value out")
        if event.tag:
            raise self.error(event, f"tags such as {event.tag!r} are not allowed")
        if self.depth >= MAX_DEPTH and isinstance(event, yaml.CollectionStartEvent):
            raise self.error(event, f"nested deeper than {MAX_DEPTH} levels")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def error(self, at: yaml.Event | yaml.Node, message: str) -> ConfigError:
        return ConfigError(f"{self.source}:{_line(at)}: {message}")

    def convert(self, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
        """The value of a node; the line of every key and list entry below it goes into `lines`."""
        if isinstance(node, yaml.SequenceNode):
            lines.update(((*path, i), _line(item)) for i, item in enumerate(node.value))
            return [self.convert(item, (*path, i), lines) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self.convert_mapping(node, path, lines)
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
            raise self.error(node, f"the number {node.value[:MAX_DIGITS]}... is too long")
        return self.construct_object(node)

    def convert_mapping(self, node: yaml.MappingNode, path: KeyPath, lines: dict[KeyPath, int]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, "a key must be plain text")
            here = (*path, key_node.value)
            if here in lines:
                name = ".".join(map(str, here))
                raise self.error(key_node, f"'{name}' is given twice; the first is in line {lines[here]}")
            lines[here] = _line(key_node)
            mapping[key_node.value] = self.convert(value_node, here, lines)
        return mapping


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9]\d*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


def parse(text: str, source: str) -> tuple[Any, dict[KeyPath, int]]:
    """The value in `text`, and the line of every key and list entry in it (from 1).

    Raises ConfigError naming `source` and the line.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ConfigError(f"{source}: larger than {MAX_BYTES:,} bytes; this is no configuration file")
    lines: dict[KeyPath, int] = {}
    try:
        loader = _Loader(text, source)
        node = loader.get_single_node()
        return None if node is None else loader.convert(node, (), lines), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = "a tab, where YAML is indented with spaces" if "'\\t'" in str(error.problem) else error.problem
        raise ConfigError(f"{source}:{mark.line + 1 if mark else 1}: not valid YAML: {problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from None


def parse_document(text: str, source: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """As `parse`, of a text that must be a mapping."""
    values, lines = parse(text, source)
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected a mapping of 'key: value' lines at the top level")
    return values, lines


def format_value(value: Any) -> str:
    """One value on one line that `parse` reads back unchanged."""
    if isinstance(value, list):
        return "[" + ", ".join(map(format_value, value)) + "]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and parse(value, "")[0] == value:
        return value
    # JSON is YAML, but for unprintable characters that JSON alone takes as they are.
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(character if character.isprintable() else f"\\U{ord(character):08x}" for character in quoted)


def _line(at: yaml.Event | yaml.Node) -> int:
    return at.start_mark.line + 1  # type: ignore[union-attr]
