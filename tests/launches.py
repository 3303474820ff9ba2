"""Counts what would be launched on a GPU, with tensors of the CPU or of the device `meta`, which have no numbers."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

VIEWS = {
    "view", "permute", "expand", "slice", "select", "unsqueeze", "squeeze", "transpose", "t", "alias", "as_strided",
    "_unsafe_view", "unbind", "split", "split_with_sizes", "detach", "diagonal", "_reshape_alias", "empty", "new_empty",
    "empty_like", "empty_strided", "new_empty_strided",
}  # fmt: skip


class Launches(TorchDispatchMode):
    """One an operation that is no view; `num_bytes` are those that they read and write at least."""

    def __init__(self, device_type: str = "meta") -> None:
        super().__init__()
        self.device_type = device_type
        self.found: collections.Counter[str] = collections.Counter()
        self.num_bytes = 0

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        if name not in VIEWS and any(tensor.device.type == self.device_type for tensor in tensors):
            self.found[name] += 1
            self.num_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result
