"""`integral-pose bench safety`: what the checkpoints cost the training.

Some steps, then as many with a checkpoint begun before the first of them, in turn. What the second takes longer is the
price of one checkpoint: the copy that the training waits for, and the steps that are slower while the thread writes.
Divided by the steps between two checkpoints it is the share that a run pays.
"""

import math
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from integral_pose.bench.measuring import describe_machine, synchronize
from integral_pose.bench.step_speed import our_step, random_batch
from integral_pose.io.checkpoint_file import load_checkpoint, to_plain
from integral_pose.io.devices import choose_device
from integral_pose.io.progress import ProgressDisplay
from integral_pose.runs.background_writer import BackgroundWriter
from integral_pose.runs.checkpoint import save_with_predecessors

HEATMAP_WEIGHT, EMA_DECAY = 1e-4, 0.999  # a run with all that has a state
LEAST_STEPS = 4
MEANINGS = {
    "wall_overhead": "share of its time that the checkpoints add to the training",
    "cpu_overhead": "share of its processor time",
    "extra_s": "of time that a checkpoint adds in all",
    "extra_cpu_s": "of processor time",
    "step_s": "for a step of ResNet-50 with Adam and moving average",
    "copy_s": "of copying, for which the training waits",
    "write_s": "of writing beside it",
    "load_s": "to verify and load a checkpoint",
    "every": "steps between two checkpoints",
}


class Seconds(NamedTuple):
    """What a piece of work took."""

    wall: float
    processor: float  # of all threads of the process


class TrainingWithCheckpoints:
    """Steps of a ResNet-50 with all that has a state, and checkpoints as `Trainer` saves them."""

    def __init__(self, batch_size: int, device: torch.device, path: Path) -> None:
        self.step, self.loss = our_step(device, device.type == "cuda", HEATMAP_WEIGHT, EMA_DECAY)
        self.batch, self.device, self.path = random_batch(batch_size, device), device, path
        self.writer = BackgroundWriter()
        self.copies_s: list[float] = []

    def save(self) -> None:
        """Copy the state, and hand it to the thread that writes."""
        start = time.perf_counter()
        content = to_plain(self.step.state(), copy=True)
        self.writer.submit(self.path, partial(save_with_predecessors, self.path, content, 1))
        self.copies_s.append(time.perf_counter() - start)

    def run(self, steps: int, *, saving: bool = False) -> None:
        """Some steps, where asked with a checkpoint begun before the first."""
        if saving:
            self.save()
        for _ in range(steps):
            self.step(self.batch, self.loss, 1e-4)
        synchronize(self.device)


def measure_checkpoints(
    batch_size: int, rounds: int, device_name: str, every: int, folder: Path | None
) -> dict[str, Any]:
    """The figures of MEANINGS for a checkpoint every `every` steps: medians over the rounds."""
    device = choose_device(device_name)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "last.pt"
        training = TrainingWithCheckpoints(batch_size, device, path)
        write_s, steps = _warm_up(training)
        without, with_one = [], []
        with ProgressDisplay(rounds, "rounds", "measuring") as progress:
            for _ in range(rounds):
                without.append(_timed(lambda: training.run(steps)))
                with_one.append(_timed(lambda: training.run(steps, saving=True), training.writer.finish))
                progress.add()
        figures = {"load_s": _timed(lambda: load_checkpoint(path)).wall, "bytes": path.stat().st_size}
    return {
        **_overheads(without, with_one, steps, every), **figures,
        "copy_s": median(training.copies_s), "write_s": write_s,
        "every": every, "steps_a_window": steps, "rounds": rounds, "batch": batch_size, **describe_machine(device),
    }  # fmt: skip


def _overheads(without: list[Seconds], with_one: list[Seconds], steps: int, every: int) -> dict[str, float]:
    pairs = list(zip(with_one, without, strict=True))
    extra_s, extra_cpu_s = (median(one[clock] - other[clock] for one, other in pairs) for clock in (0, 1))
    step_s, step_cpu_s = (median(each[clock] for each in without) / steps for clock in (0, 1))
    return {
        "wall_overhead": extra_s / (every * step_s), "cpu_overhead": extra_cpu_s / (every * step_cpu_s),
        "extra_s": extra_s, "extra_cpu_s": extra_cpu_s, "step_s": step_s,
    }  # fmt: skip


def _warm_up(training: TrainingWithCheckpoints) -> tuple[float, int]:
    """Seconds of one writing; and so many steps that the writing ends before they do, although it is slower then."""
    training.run(3)
    step_s = _timed(lambda: training.run(3)).wall / 3
    training.save()
    write_s = _timed(training.writer.finish).wall
    training.copies_s.clear()
    return write_s, max(LEAST_STEPS, math.ceil(3 * write_s / step_s))


def _timed(work: Callable[[], object], afterwards: Callable[[], object] = lambda: None) -> Seconds:
    """Of `work`; the processor's until `afterwards` is done too."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    work()
    wall_s = time.perf_counter() - start_s
    afterwards()
    return Seconds(wall_s, time.process_time() - start_cpu_s)
