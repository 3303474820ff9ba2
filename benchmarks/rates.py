"""How many images an approach trains on in a minute, so that all get the same time and each run is reproducible.

Wall time is no budget on a shared machine: the same run would see other numbers of images each time. So the cost of
an image is measured once, in turns with a reference, on the clock of this process's own work, and minutes become
images. Training, loading and augmentation count; scoring, checkpoints and the start of Python do not.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from integral_pose.bench.measuring import interleaved, median_ratio
from integral_pose.config.loading import load_config
from integral_pose.config.schema import Config
from integral_pose.contracts import MixedBatch, PoseBatch
from integral_pose.experiment.assembly import build_trainer, read_training_data
from integral_pose.io.devices import choose_device
from integral_pose.io.distributed import Processes
from integral_pose.runs.folder import RunFolder
from integral_pose.runs.output import RunOutput
from integral_pose.runs.status import RunStatus
from integral_pose.runs.stop import StopSignal
from integral_pose.training.plan import Batches, Stage

IMAGES_A_TURN = 128  # of each candidate, about: long against the clock's grain, short against a neighbour's whims
ROUNDS = 5


class Rate(NamedTuple):
    """What an image costs."""

    ratio: float  # to the reference's: median over the rounds, in each of which both have their turn
    reference_images_per_s: float  # in the fastest round, the one least disturbed


def measure_rate(candidate: Config, reference: Config, rounds: int = ROUNDS) -> Rate:
    """The cost of an image over all stages of `candidate`, in proportion to their epochs.

    On a CPU by the time of this process, of which other programs take little; on CUDA by the wall's.
    """
    device = choose_device(reference.trainer.device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    turns = {"reference": _turns(reference, device)[0][1]}
    stages = _turns(candidate, device)
    turns |= {f"stage {number}": turn for number, (_, turn) in enumerate(stages)}
    times = interleaved(turns, device, rounds=rounds, warm_up=1, clock=clock)
    ratios = [median_ratio(times[f"stage {number}"], times["reference"]) for number in range(len(stages))]
    epochs = [share for share, _ in stages]
    ratio = sum(share * ratio for share, ratio in zip(epochs, ratios, strict=True)) / sum(epochs)
    return Rate(
        ratio=ratio * _images_a_turn(reference) / _images_a_turn(candidate),
        reference_images_per_s=_images_a_turn(reference) / min(times["reference"]),
    )


def measure_images_per_s(config: Config, rounds: int = ROUNDS) -> float:
    """By the wall's clock, on a machine that nobody shares: the median over the rounds, stages by their epochs."""
    device = choose_device(config.trainer.device)
    stages = _turns(config, device)
    times = interleaved({str(n): turn for n, (_, turn) in enumerate(stages)}, device, rounds=rounds, warm_up=2)
    epochs = [share for share, _ in stages]
    seconds = sum(share * statistics.median(times[str(n)]) for n, share in enumerate(epochs)) / sum(epochs)
    return _images_a_turn(config) / seconds


def images_for(minutes: float, images_per_s: float, config: Config) -> int:
    """Images of one epoch, in whole batches, that make all epochs together take `minutes`."""
    epochs = sum(stage.epochs for stage in config.stages)
    batches = round(minutes * 60 * images_per_s / epochs / config.trainer.batch_size)
    return max(1, batches) * config.trainer.batch_size


def _turns(config: Config, device: torch.device) -> list[tuple[int, Callable[[], None]]]:
    """(epochs, a turn of steps) for each stage whose loss differs from the one before it; one network for all."""
    folder, alone = RunFolder(Path(config.run_dir), writes=False), Processes()
    unwritten = RunOutput(folder, RunStatus(folder.path, rank=0), "", alone)
    trainer = build_trainer(config, read_training_data(config), device, alone, unwritten, StopSignal(), begins=True)
    train_step = trainer.state.train_step
    train_step.model.train()
    batches = _endless(trainer.batches)
    num_steps = _images_a_turn(config) // config.trainer.batch_size

    def turn(stage: Stage) -> Callable[[], None]:
        def steps() -> None:
            for batch in itertools.islice(batches, num_steps):
                train_step(batch.to(device), stage.loss, 1e-4)

        return steps

    stages: list[tuple[int, Stage]] = []
    for stage in trainer.stages:
        if stages and stages[-1][1].loss == stage.loss:
            stages[-1] = (stages[-1][0] + stage.epochs, stage)
        else:
            stages.append((stage.epochs, stage))
    return [(epochs, turn(stage)) for epochs, stage in stages]


def _images_a_turn(config: Config) -> int:
    """IMAGES_A_TURN in whole batches, one at least."""
    return max(1, round(IMAGES_A_TURN / config.trainer.batch_size)) * config.trainer.batch_size


def _endless(batches: Batches) -> Iterator[PoseBatch | MixedBatch]:
    for epoch in itertools.count():
        yield from batches.epoch(epoch)


def main(arguments: Sequence[str]) -> None:
    """Measure [[candidate's file, overrides], [reference's file, overrides]]; the last line printed is the `Rate`."""
    candidate, reference = (load_config(path, overrides).config for path, overrides in json.loads(arguments[0]))
    print(json.dumps(measure_rate(candidate, reference)))


if __name__ == "__main__":
    main(sys.argv[1:])
