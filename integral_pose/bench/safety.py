"""`integral-pose bench safety`: what the checkpoints cost the training.

Some steps, then as many with a checkpoint begun before the first of them, in turn. What the second takes longer is the
price of one checkpoint: the copy that the training waits for, and the steps that are slower while the thread writes.
Divided by the steps between two checkpoints it is the share that a run pays.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from integral_pose.bench.step import our_train_step, random_batch
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.io.devices import choose_device
from integral_pose.io.plain import to_plain
from integral_pose.runs.background_writer import BackgroundWriter
from integral_pose.runs.checkpoint import save_with_predecessors

HEATMAP_WEIGHT, EMA_DECAY = 1e-4, 0.999  # a run with all that has a state
LEAST_STEPS = 4


def measure(batch_size: int, rounds: int, device_name: str, every: int, folder: Path | None) -> dict[str, Any]:
    """wall_overhead, cpu_overhead: shares that a checkpoint every `every` steps adds to the training.

    copy_s is what the training waits for, write_s what the thread takes beside it, step_s one step without.
    """
    device = choose_device(device_name)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        return _measure(batch_size, rounds, device, every, Path(place) / "last.pt")


def _measure(batch_size: int, rounds: int, device: torch.device, every: int, path: Path) -> dict[str, Any]:
    step, loss = our_train_step(device, device.type == "cuda", HEATMAP_WEIGHT, EMA_DECAY)
    batch, writer = random_batch(batch_size, device), BackgroundWriter()
    copies: list[float] = []

    def save() -> None:  # as Trainer.save
        began = time.perf_counter()
        content = to_plain(step.state(), copy=True)
        writer.submit(path, partial(save_with_predecessors, path, content, 1))
        copies.append(time.perf_counter() - began)

    def steps(number: int, *, saving: bool = False) -> None:
        if saving:
            save()
        for _ in range(number):
            step(batch, loss, 1e-4)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    steps(3)
    step_s = _timed(lambda: steps(3))[0] / 3
    steps(1)
    save()
    write_s = _timed(writer.finish)[0]
    # So many that the writing ends before they do, although it is slower beside them.
    number = max(LEAST_STEPS, math.ceil(3 * write_s / step_s))
    copies.clear()
    without, with_one = [], []
    for _ in range(rounds):
        without.append(_timed(lambda: steps(number)))
        with_one.append(_timed(lambda: steps(number, saving=True), writer.finish))
    extra_s, extra_cpu_s = (
        statistics.median(one[i] - other[i] for one, other in zip(with_one, without, strict=True)) for i in range(2)
    )
    step_s, step_cpu_s = (statistics.median(each[i] for each in without) / number for i in range(2))
    return {
        "wall_overhead": extra_s / (every * step_s),
        "cpu_overhead": extra_cpu_s / (every * step_cpu_s),
        "copy_s": statistics.median(copies),
        "write_s": write_s,
        "load_s": _timed(lambda: load_checkpoint(path))[0],
        "extra_s": extra_s,
        "extra_cpu_s": extra_cpu_s,
        "step_s": step_s,
        "bytes": path.stat().st_size,
        "every": every,
        "steps_a_window": number,
        "rounds": rounds,
        "batch": batch_size,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    return "\n".join([
        f"{result['device']}, torch {result['torch']}, {result['threads']} threads: ResNet-50 with Adam and moving "
        f"average, {result['bytes'] / 1e6:.0f} MB, batch {result['batch']}",
        f"one step             {result['step_s']:8.3f} s",
        f"one checkpoint       {result['copy_s']:8.3f} s of copying, for which the training waits",
        f"                     {result['write_s']:8.3f} s of writing beside it",
        f"                     {result['extra_s']:+8.3f} s in all, {result['extra_cpu_s']:+.3f} s of processor time",
        f"                     {result['load_s']:8.3f} s to verify and load it",
        f"every {result['every']} steps      {result['wall_overhead']:+8.2%} time, "
        f"{result['cpu_overhead']:+.2%} processor time "
        f"(medians of {result['rounds']} rounds of {result['steps_a_window']} steps)",
    ])  # fmt: skip


def _timed(work: Callable[[], object], afterwards: Callable[[], object] = lambda: None) -> tuple[float, float]:
    """Seconds of `work`, and processor seconds of the whole process until `afterwards` is done."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    work()
    taken_s = time.perf_counter() - began_s
    afterwards()
    return taken_s, time.process_time() - began_cpu_s
