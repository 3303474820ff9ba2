"""Finds, on the CPU, what would make the host wait for a GPU."""

from __future__ import annotations

import collections
import contextlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

PACKAGE = str(Path(__file__).parents[1] / "integral_pose")
READS = {
    "item", "tolist", "cpu", "numpy", "nonzero", "masked_select", "argwhere", "unique", "is_nonzero", "equal",
    "allclose", "inverse", "__bool__", "__int__", "__float__", "__index__", "__array__", "__contains__",
}  # fmt: skip
COPIES = {"tensor", "new_tensor", "as_tensor", "from_numpy", "asarray"}
MADE = {"eye", "arange", "zeros", "ones", "full", "empty", "linspace", "rand", "randn"}  # on the CPU without a device


class HostWaits(TorchFunctionMode):
    """Counts, by file and line of the package, reads of tensors and copies from lists, which are pageable memory."""

    def __init__(self) -> None:
        super().__init__()
        self.found: collections.Counter[str] = collections.Counter()

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        is_list = name in ("__getitem__", "__setitem__") and _is_of_host(args[1])
        if is_list or name in READS | COPIES or (name in MADE and kwargs.get("device") is None):
            own = [frame for frame in traceback.extract_stack()[:-1] if frame.filename.startswith(PACKAGE)]
            if own:
                self.found[f"{Path(own[-1].filename).name}:{own[-1].lineno} {name}"] += 1
        return func(*args, **kwargs)


def _is_of_host(index: Any) -> bool:
    """Lists are copied to the device; the length of what a mask chooses is read back."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(
        isinstance(part, list | tuple | np.ndarray) or (isinstance(part, Tensor) and part.dtype == torch.bool)
        for part in parts
    )


@pytest.fixture
def cuda_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Volumes go through the host code of the Triton kernels, which themselves do nothing: what they give is noise."""
    jit = pytest.importorskip("triton.runtime.jit")
    from integral_pose.heatmaps import volume

    monkeypatch.setattr(jit.JITFunction, "run", lambda self, *args, grid, warmup, **constants: None)
    monkeypatch.setattr(volume, "_choose", lambda logits: "triton")
    monkeypatch.setattr(torch.cuda, "device_of", lambda tensor: contextlib.nullcontext())
