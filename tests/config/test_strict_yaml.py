"""YAML as people mean it: what is a number, what is text, and what is refused at once."""

import time

import pytest

from integral_pose.config.strict_yaml import MAX_BYTES, parse, parse_document
from integral_pose.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), ("2.5e+2", 250.0), (".5", 0.5), ("-3.", -3.0), ("1.0", 1.0), ("-7", -7),
        ("+7", 7), ("0", 0), ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("True", "True"), ("NULL", "NULL"),
        ("017", "017"), ("0x10", "0x10"), ("1_000", "1_000"), ("12:30", "12:30"), ("2024-01-31", "2024-01-31"),
        (".inf", ".inf"), (".nan", ".nan"), ("e5", "e5"), ("1e", "1e"), ("'1'", "1"), ('"true"', "true"), ("=", "="),
        ("[1, 2.5, no]", [1, 2.5, "no"]), ("{a: {b: 1e2}}", {"a": {"b": 100.0}}),
    ],
)  # fmt: skip
def test_what_a_value_is(text, value):
    found = parse(text, "here")[0]
    assert found == value
    assert type(found) is type(value)


def test_lines_of_keys_and_entries():
    values, lines = parse_document("a: 1\n\nb:\n  c: [x,\n      y]\n  d:\n    - e: 2\n    - e: 3\n", "f.yaml")
    assert values == {"a": 1, "b": {"c": ["x", "y"], "d": [{"e": 2}, {"e": 3}]}}
    assert lines == {
        ("a",): 1, ("b",): 3, ("b", "c"): 4, ("b", "c", 0): 4, ("b", "c", 1): 5, ("b", "d"): 6,
        ("b", "d", 0): 7, ("b", "d", 0, "e"): 7, ("b", "d", 1): 8, ("b", "d", 1, "e"): 8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: 'a' is given twice; the first is in line 1"),
        ("a:\n  - b: 1\n    b: 1", "f.yaml:3: 'a.0.b' is given twice; the first is in line 2"),
        ("a: 1\n'a': 3", "f.yaml:2: 'a' is given twice; the first is in line 1"),
        ("a: &x 1\nb: *x", "f.yaml:1: anchors and aliases are not used here; write the value out"),
        ("a: 1\nb: *x", "f.yaml:2: anchors and aliases are not used here; write the value out"),
        (
            "a: !!python/name:os.system x",
            "f.yaml:1: tags such as 'tag:yaml.org,2002:python/name:os.system' are not allowed",
        ),
        ("a: 1\nb: !c 2", "f.yaml:2: tags such as '!c' are not allowed"),
        ("a: [1", "f.yaml:1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n\tb: 2", "f.yaml:2: not valid YAML: a tab, where YAML is indented with spaces"),
        ("a: 1\n---\nb: 2", "f.yaml:2: not valid YAML: but found another document"),
        ("[a]: 1", "f.yaml:1: a key must be plain text"),
        ("- 1", "f.yaml: expected a mapping of 'key: value' lines at the top level"),
        ("", "f.yaml: expected a mapping of 'key: value' lines at the top level"),
        ("a: " + "9" * 40, "f.yaml:1: the number 99999999999999999999... is too long"),
        ("a: " + "[" * 25 + "]" * 25, "f.yaml:1: nested deeper than 20 levels"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "f.yaml")
    assert str(caught.value) == message


def test_unprintable_characters_are_refused():
    with pytest.raises(ConfigError, match=r"^f\.yaml: not valid YAML: unacceptable character #x0000"):
        parse_document("a: \0", "f.yaml")


@pytest.mark.parametrize(
    "text",
    ["[" * 60_000, "[" * 19_000, "[a," * 6_000, "- " * 9_000, "{a: " * 4_900, "? " * 9_000, "a: &x [*x]", "x" * 10**7],
)
def test_hostile_text_is_refused_fast(text):
    start = time.process_time()
    with pytest.raises(ConfigError):
        parse_document(text, "f.yaml")
    assert time.process_time() - start < 2


def test_too_large_a_file():
    with pytest.raises(ConfigError, match=r"^f\.yaml: larger than 20,000 bytes; this is no configuration file$"):
        parse_document("#" * (MAX_BYTES + 1), "f.yaml")
    assert parse_document("a: 1\n".ljust(MAX_BYTES, "#"), "f.yaml")[0] == {"a": 1}
