"""The keys that the schema knows, and the one that was probably meant by another."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from integral_pose.config.schema import Config
from integral_pose.config.strict_yaml import KeyPath


def split_key(key: str) -> KeyPath:
    """'stages.0.epochs' as ('stages', 0, 'epochs')."""
    return tuple(int(part) if part.isdecimal() else part for part in key.split("."))


def join_key(path: KeyPath) -> str:
    """The inverse of `split_key`."""
    return ".".join(map(str, path))


def schema_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Every key and section, dotted; '*' stands for the number of a list entry."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if inner := _section_in(field.annotation):
            entry = "*." if get_origin(field.annotation) is list else ""
            yield from schema_keys(inner, f"{prefix}{name}.{entry}")


def is_text(path: KeyPath) -> bool:
    """Whether the value of a key is any text, and not a number, a list or one of several names."""
    return str in _choices(_annotation(path))


def is_optional(path: KeyPath) -> bool:
    """Whether a key may be null."""
    return type(None) in _choices(_annotation(path))


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that `name` is a misspelling or the initials of ('lr' of 'learning_rate')."""
    known = list(known)
    initials = [each for each in known if "_" in each and "".join(word[0] for word in each.split("_")) == name]
    return next(iter(initials or difflib.get_close_matches(name.lower(), known, n=1, cutoff=cutoff)), None)


def suggestion(path: KeyPath) -> str:
    """What to write for the first part of `path` that is unknown, as the end of a message; '' if all are known."""
    length = next((n for n in range(1, len(path) + 1) if _annotation(path[:n]) is None), None)
    if length is None:
        return ""
    section, name = path[: length - 1], str(path[length - 1])
    model = _section_in(_annotation(section))
    known = list(model.model_fields) if model else []
    if near := nearest(name, known):
        return f"; did you mean '{join_key((*section, near))}'?"
    elsewhere = {key.rpartition(".")[2]: key.replace("*", "0") for key in reversed(list(schema_keys()))}
    if near := nearest(name, elsewhere):
        return f"; did you mean '{elsewhere[near]}'?"
    return f"; known here: {', '.join(known)}" if known else ""


def _annotation(path: KeyPath) -> Any:
    """The type of a key; None if there is no such key."""
    annotation: Any = Config
    for part in path:
        if isinstance(part, int):
            annotation = get_args(annotation)[0] if get_origin(annotation) is list else None
        else:
            is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
            field = annotation.model_fields.get(part) if is_section else None
            annotation = field.annotation if field else None
    return annotation


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The types that a union joins, without what annotates them."""
    if get_origin(annotation) is Annotated:
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) in (None, list):
        return (annotation,)
    return tuple(choice for each in get_args(annotation) for choice in _choices(each))


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a key is, or that the entries of its list are."""
    if get_origin(annotation) is list:
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
