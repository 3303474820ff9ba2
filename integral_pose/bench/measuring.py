"""What all measurements need: turns, peaks of memory, a process of one's own, the name of the machine."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch

from integral_pose.io import parallel
from integral_pose.io.progress import ProgressDisplay

Result = TypeVar("Result")

# glibc hands every large tensor back to the kernel and asks for it again, page by page: 70 % of the time of a
# loss. For timings it is told to keep memory, as every caching allocator does; for peaks, to give it back.
TIMING_ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
MEMORY_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    device: torch.device,
    *,
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each candidate, once a round, all in turn, so that a noisy machine disturbs each of them alike."""
    times_s: dict[str, list[float]] = {name: [] for name in candidates}
    turns = [name for _ in range(warm_up + rounds) for name in candidates]
    with ProgressDisplay(len(turns), "runs", "measuring") as progress:
        for number, name in enumerate(turns):
            gc.collect()  # no candidate pays for what another left
            synchronize(device)
            start = clock()
            candidates[name]()
            synchronize(device)
            seconds = clock() - start
            if number >= warm_up * len(candidates):
                times_s[name].append(seconds)
            progress.add()
    return times_s


def median_ratio(one_s: Sequence[float], other_s: Sequence[float]) -> float:
    """Median over the rounds of one candidate's time over the other's in the same round."""
    return statistics.median(a / b for a, b in zip(one_s, other_s, strict=True))


def synchronize(device: torch.device) -> None:
    """Wait for a GPU, which works on while Python goes ahead."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_own_process(environment: dict[str, str], work: Callable[..., Result], *arguments: object) -> Result:
    """What `work` returns in a new process with these variables: malloc reads its settings once, at the start."""
    with parallel.environment(**environment), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


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
    before = proc_bytes("self/status", "VmRSS")
    work()
    return max(0, proc_bytes("self/status", "VmHWM") - before)


def proc_bytes(file: str, field: str) -> int:
    """A size of memory as Linux tells it in a file below /proc."""
    lines = Path("/proc", file).read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def describe_machine(device: torch.device) -> dict[str, Any]:
    """The keys that every JSON file of figures has."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {"device": name, "threads": torch.get_num_threads(), "torch": str(torch.__version__)}


def figures_table(result: Mapping[str, Any], meanings: Mapping[str, str]) -> str:
    """The rows of a result side by side, then each figure by its name in the JSON file and what it means."""
    rows = result.get("rows", [])
    header = list(dict.fromkeys(key for row in rows for key in row))
    columns = [[key, *(_shown(row.get(key)) for row in rows)] for key in header]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in zip(*columns, strict=True)
    ]
    for key, value in result.items():
        if key != "rows":
            lines.append(f"{key:<28}{_shown(value):<12}{meanings.get(key, '')}".rstrip())
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"\n  {name:<40}{_shown(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(value) or "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)


def _cpu_name() -> str:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "CPU")
