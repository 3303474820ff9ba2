"""Compiles Triton launches for GPUs that are not here, with the arguments and constants of the host code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch


class NoGpu:
    """A driver of a GPU for which one can only compile."""

    def __init__(self, architecture: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget("cuda", architecture, 32)

    def get_current_device(self) -> int:
        return int(self.target.arch)

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        return self.target


@contextmanager
def compiled_launches(architecture: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Kernels by name, for a GPU of compute capability architecture / 10, which the launches inside add to."""
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction, MockTensor

    kernels, run = {}, JITFunction.run

    def compile_instead(self: Any, *arguments: Any, grid: Any, warmup: bool, **constants: Any) -> None:
        mocked = [MockTensor(each.dtype) if isinstance(each, torch.Tensor) else each for each in arguments]
        kernels[self.fn.__name__] = run(self, *mocked, grid=grid, warmup=True, **constants)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(folder))
        patch.setattr(JITFunction, "run", compile_instead)
        driver.set_active(NoGpu(architecture))
        try:
            yield kernels
        finally:
            driver._active = None


def resources(kernel: Any, folder: Path) -> dict[str, int]:
    """REG, STACK, LOCAL and SHARED as ptxas has given them."""
    import triton

    path = folder / "kernel.cubin"
    path.write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    told = subprocess.run([tool, "--dump-resource-usage", path], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL|SHARED):(\d+)", told)}
