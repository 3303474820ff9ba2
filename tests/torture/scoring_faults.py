"""Runs in which scores and pictures fail."""

from __future__ import annotations

import errno
import os
import random
import signal
from typing import Any

from integral_pose.cli import main as cli
from integral_pose.errors import DataError
from integral_pose.experiment import assembly
from integral_pose.training.best import BestModel
from integral_pose.training.state import Progress
from tests.torture.trials import EPOCHS, Trials, wait_for_saves

FAULTS = "faults in scoring and in the pictures, and a kill: status 0, final weights equal, bit for bit"


def fail_in_scoring_and_pictures(trials: Trials) -> None:
    """A run in which these fail now and then, with a kill on the way."""
    run = trials.new_run("faulty")
    options = {"call": "scoring_faults:with_faults", "environment": {"SEED": str(trials.random.random())}}
    process = trials.start(run, trials.how_to_save(), **options)
    wait_for_saves(process, run, trials.random.randint(2, 8))
    process.send(signal.SIGKILL)
    process.wait()
    process = trials.start(run, trials.how_to_save(), **options)
    ended = trials.ends(process, [0], run.name)
    # What was the best score is not compared: it may have been one that failed.
    trials.compare(FAULTS, run, "" if ended else f"status {process.exit_code}: {process.said[-600:]}", but=["progress"])
    trials.tidy(run)


def with_faults(arguments: list[str]) -> int:
    """Run a command in which most scores but the last one fail, and most pictures, each in its own way."""
    rng = random.Random(os.environ["SEED"])
    score, draw = BestModel.score, assembly.draw_samples

    def score_or_fail(self: BestModel, model: Any, progress: Progress) -> None:
        if rng.random() < 0.7 and progress.epoch < EPOCHS:
            raise rng.choice(REASONS)
        score(self, model, progress)

    def draw_or_fail(*some: Any) -> Any:
        if rng.random() < 0.7:
            raise rng.choice(REASONS)
        return draw(*some)

    BestModel.score, assembly.draw_samples = score_or_fail, draw_or_fail  # type: ignore[method-assign]
    return cli.main(arguments)


REASONS = (MemoryError("no room"), DataError("an image is damaged"), OSError(errno.EIO, "Input/output error"),
           RuntimeError("of a library"), ValueError("of ours"))  # fmt: skip
