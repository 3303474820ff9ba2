"""How much memory a piece of work needs at its peak beside what was there before."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import torch


def extra_bytes(work: Callable[[], object], device: torch.device) -> int | None:
    """Peak above the memory held before `work`; None where the system does not tell (CPU other than Linux).

    On a CPU it holds only in a process started with MEMORY_ENVIRONMENT.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    reset.write_text("5")  # the peak starts anew from here
    before = _status_bytes("VmRSS")
    work()
    return max(0, _status_bytes("VmHWM") - before)


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
