"""How exactly, and how repeatably, the library computes: flags of the process, put back at the end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.utils.deterministic
from torch.backends import cudnn


@contextmanager
def arithmetic(*, deterministic: bool = False) -> Iterator[None]:
    """Inside, float32 is float32: cuDNN would round the factors of convolutions to TF32's 10 bits.

    Which of cuDNN's convolutions is fastest is tried out; with `deterministic` only repeatable operations are taken,
    and torch warns of those that it has in no repeatable form. Neither changes anything on the CPU.
    """
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    flags = cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, fills
    repeatable = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    _set(False, not deterministic, deterministic, False, deterministic, True)
    try:
        yield
    finally:
        _set(*flags, *repeatable)


def _set(tf32: bool, benchmark: bool, repeatable: bool, filled: bool, algorithms: bool, warn_only: bool) -> None:
    cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = tf32, benchmark, repeatable
    # Every new tensor would be written once more.
    torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
