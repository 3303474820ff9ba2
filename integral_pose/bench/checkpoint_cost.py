"""`integral-pose bench safety`: what the checkpoints cost the training.

Some steps, then as many with a checkpoint begun before the first of them, in turn. What the second takes longer is the
price of one checkpoint: the copy and the note in status.json, for which the training waits, and the steps that are
slower while the thread writes. Divided by the time between two checkpoints it is the share that a run pays.
"""

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from integral_pose.bench.measuring import describe_machine, synchronize
from integral_pose.bench.step_speed import our_step, random_batch
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.io.devices import choose_device
from integral_pose.io.distributed import Processes
from integral_pose.io.progress import ProgressDisplay
from integral_pose.runs.checkpoint_saver import CheckpointSaver
from integral_pose.runs.status import RunStatus
from integral_pose.training.state import TrainingState

HEATMAP_WEIGHT, EMA_DECAY = 1e-4, 0.999  # a run with all that has a state
LEAST_STEPS = 4
MEANINGS = {
    "wall_overhead": "share of its time that the checkpoints add to the training",
    "extra_s": "of time that a checkpoint adds in all, median of the rounds",
    "most_extra_s": "the most of a round",
    "extra_cpu_s": "of processor time",
    "waits_s": "of that the training waits for the copy",
    "step_s": "for a step of ResNet-50 with Adam and moving average",
    "write_s": "of writing beside it",
    "load_s": "to verify and load a checkpoint",
    "every_s": "between two checkpoints",
}


class Seconds(NamedTuple):
    """What a piece of work took."""

    wall: float
    processor: float  # of all threads of the process


class TrainingWithCheckpoints:
    """Steps of a ResNet-50 with all that has a state, and checkpoints as `Trainer` saves them."""

    def __init__(self, batch_size: int, device: torch.device, folder: Path) -> None:
        self.step, self.loss = our_step(device, device.type == "cuda", HEATMAP_WEIGHT, EMA_DECAY)
        self.batch, self.device, self.path = random_batch(batch_size, device), device, folder / "last.pt"
        self.state = TrainingState(self.step, Processes())
        self.saver = CheckpointSaver(folder, Processes(), lambda: None)
        self.status = RunStatus(folder, 0)
        self.status.is_ours = True
        self.waits_s: list[float] = []

    def save(self) -> None:
        """Copy the state, hand it to the thread that writes, and note the step."""
        start = time.perf_counter()
        self.state.progress.step += 1
        self.saver.save(self.path, self.state.content(), keep_previous=1)
        self.status.running(self.state.progress.step, 0)
        self.waits_s.append(time.perf_counter() - start)

    def run(self, steps: int, *, saving: bool = False) -> None:
        """Some steps, where asked with a checkpoint begun before the first."""
        if saving:
            self.save()
        for _ in range(steps):
            self.step(self.batch, self.loss, 1e-4)
        synchronize(self.device)


def measure_checkpoints(
    batch_size: int, rounds: int, device_name: str, every_s: float, folder: Path | None
) -> dict[str, Any]:
    """The figures of MEANINGS for a checkpoint every `every_s` seconds."""
    device = choose_device(device_name)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        training = TrainingWithCheckpoints(batch_size, device, Path(place))
        write_s, steps = _warm_up(training)
        without, with_one = [], []
        with ProgressDisplay(rounds, "rounds", "measuring") as progress:
            for _ in range(rounds):
                without.append(_timed(lambda: training.run(steps)))
                with_one.append(_timed(lambda: training.run(steps, saving=True), training.saver.wait))
                progress.add()
        figures = {"load_s": _timed(lambda: load_checkpoint(training.path)).wall, "bytes": training.path.stat().st_size}
    return {
        **_overheads(without, with_one, steps, every_s), **figures,
        "waits_s": median(training.waits_s), "write_s": write_s, "every_s": every_s,
        "steps_a_window": steps, "rounds": rounds, "batch": batch_size, **describe_machine(device),
    }  # fmt: skip


def _overheads(without: list[Seconds], with_one: list[Seconds], steps: int, every_s: float) -> dict[str, float]:
    extra = [Seconds(*(a - b for a, b in zip(*pair, strict=True))) for pair in zip(with_one, without, strict=True)]
    extra_s = median(each.wall for each in extra)
    return {
        "wall_overhead": extra_s / every_s, "extra_s": extra_s, "most_extra_s": max(each.wall for each in extra),
        "extra_cpu_s": median(each.processor for each in extra),
        "step_s": median(each.wall for each in without) / steps,
    }  # fmt: skip


def _warm_up(training: TrainingWithCheckpoints) -> tuple[float, int]:
    """Seconds of one writing; and so many steps that the writing ends before they do, although it is slower then."""
    training.run(3)
    step_s = _timed(lambda: training.run(3)).wall / 3
    training.save()
    write_s = _timed(training.saver.wait).wall
    training.waits_s.clear()
    return write_s, max(LEAST_STEPS, math.ceil(3 * write_s / step_s))


def _timed(work: Callable[[], object], afterwards: Callable[[], object] = lambda: None) -> Seconds:
    """Of `work`; the processor's until `afterwards` is done too."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    work()
    wall_s = time.perf_counter() - start_s
    afterwards()
    return Seconds(wall_s, time.process_time() - start_cpu_s)
