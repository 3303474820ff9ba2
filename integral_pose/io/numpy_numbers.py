"""NumPy's numbers inside pickles, as other projects leave them there (a best score, say), without NumPy's code.

A pickle names functions and what to call them with. For these names our own stand-ins are called, which make a Python
number and nothing else.
"""

import struct
from collections.abc import Callable
from typing import Any

# NumPy's names of types (kind and bytes) -> what `struct` calls them.
FORMATS = {
    "f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b",
    "u8": "Q", "u4": "I", "u2": "H", "u1": "B", "b1": "?",
}  # fmt: skip


class NumberType:
    """Stands in for numpy.dtype."""

    def __init__(self, name: str, *_: Any) -> None:
        self.format, self.byte_order = FORMATS.get(str(name).lstrip("<>|="), ""), "<"

    def __setstate__(self, state: Any) -> None:
        if state[1] == ">":
            self.byte_order = ">"


def number(kind: NumberType, content: bytes) -> float | int | bool:
    """Stands in for numpy's scalar. Raises ValueError for anything that is not a number of just these bytes."""
    if not isinstance(kind, NumberType) or not kind.format or not isinstance(content, bytes):
        raise ValueError("holds a NumPy scalar that is no number")
    try:
        value: float | int | bool = struct.unpack(kind.byte_order + kind.format, content)[0]
    except struct.error as error:
        raise ValueError(f"holds a damaged NumPy number: {error}") from None
    return value


# What `torch.serialization.safe_globals` takes: functions and the names in pickles that mean them.
SAFE_GLOBALS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (NumberType, "numpy.dtype"),
    (number, "numpy.core.multiarray.scalar"),
    (number, "numpy._core.multiarray.scalar"),
]
