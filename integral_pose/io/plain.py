"""What may stand in a checkpoint: plain types and tensors, which load without running code."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

PLAIN = (bool, int, float, complex, str, bytes, type(None))


def to_plain(value: Any, *, copy: bool = False, where: str = "content") -> Any:
    """The same in dicts, lists, tuples, Python's own scalars and tensors.

    With `copy` the tensors are copies in the memory of the CPU, so that what they came from may change. Raises
    TypeError, naming the place, for anything that `weights_only` loading would refuse. NumPy's scalars, which it
    refuses too, become Python's: a mean that was computed by NumPy must not cost a run its checkpoints.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, torch.Tensor):
        return _copied(value.detach()) if copy else value.detach()
    if isinstance(value, np.generic) and type(value.item()) in PLAIN:
        return value.item()
    if isinstance(value, dict):
        return {
            _plain_key(key, where): to_plain(item, copy=copy, where=f"{where}[{key!r}]") for key, item in value.items()
        }
    if type(value) in (list, tuple):
        return type(value)(to_plain(item, copy=copy, where=f"{where}[{i}]") for i, item in enumerate(value))
    raise TypeError(f"{where} is a {type(value).__name__}, which no checkpoint may hold; make it a plain type")


def size_bytes(value: Any) -> int:
    """A bound for the size of the file that holds this plain value."""
    if isinstance(value, torch.Tensor):
        return value.untyped_storage().nbytes() + 1024  # its name, its header and the gap up to it
    if isinstance(value, dict):
        return sum(size_bytes(item) + size_bytes(key) for key, item in value.items()) + 64
    if isinstance(value, list | tuple):
        return sum(map(size_bytes, value)) + 64
    return 4 * len(value) + 64 if isinstance(value, str | bytes) else 64


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone() if tensor.device.type == "cpu" else tensor.cpu()


def _plain_key(key: Any, where: str) -> Any:
    if type(key) not in (str, int):
        raise TypeError(f"{where} has the key {key!r}, expected a text or a whole number")
    return key
