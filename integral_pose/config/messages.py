"""What is wrong with a configuration, in words: where it stands, which key, what was expected, what was found."""

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from integral_pose.config.keys import join_key, nearest, split_key, suggestion
from integral_pose.config.origins import Origins, nearest_origin
from integral_pose.config.strict_yaml import KeyPath
from integral_pose.errors import ConfigError

PLAIN_WORDS = {"Input should be": "expected", "List should have": "expected", "String should have": "expected",
               " after validation": ""}  # fmt: skip


def config_error(error: ValidationError, origins: Origins, source: str) -> ConfigError:
    """All faults at once, each on a line."""
    faults = [_fault(dict(each), origins, source) for each in error.errors()]
    return ConfigError("\n".join(dict.fromkeys(faults)))


def _fault(error: dict[str, Any], origins: Origins, source: str) -> str:
    path: KeyPath = tuple(error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    # A rule over several keys belongs to a section; its text starts with the key to look at.
    is_rule = error["type"] == "value_error"
    where = nearest_origin((*path, *split_key(message.partition(" ")[0])) if is_rule else path, origins)
    return f"{where or source}: {_problem(error, path, message)}"


def _problem(error: dict[str, Any], path: KeyPath, message: str) -> str:
    kind, found, key = error["type"], error["input"], join_key(path)
    if key == "base":
        return "base: only a file that is named on the command line has one; write the values out"
    if kind == "extra_forbidden":
        return f"unknown key '{key}'{suggestion(path)}"
    if kind == "missing":
        return f"the key '{key}' is missing"
    if kind == "model_type":
        return f"{key}: expected a section with keys of its own, found {_shown(found)}"
    for words, plain in PLAIN_WORDS.items():
        message = message.replace(words, plain)
    if kind == "string_type" and isinstance(found, int | float):
        return f"{key}: expected text, found the number {found}; put it in quotation marks: '...'"
    if kind == "list_type" and isinstance(found, str):
        return f"{key}: expected a list, found {_shown(found)}; put it in brackets: [{found}]"
    if not isinstance(found, (dict, BaseModel)) and ", found " not in message:
        message += f", found {_shown(found)}"
    if kind == "literal_error":
        near = nearest(str(found), re.findall(r"'(.*?)'", error["ctx"]["expected"]), cutoff=0.8)
        message += f"; did you mean '{near}'?" if near else ""
    return f"{key}: {message}" if key else message


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
