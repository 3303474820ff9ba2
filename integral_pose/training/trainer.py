"""The training loop: stages, epochs, steps. Everything it works on is handed in.

A run is a function of its configuration: it can be stopped after any step and continued to the same weights.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from integral_pose.contracts import PoseBatch, Scores
from integral_pose.errors import CheckpointError, Interrupted, OutputError
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.io.distributed import Processes
from integral_pose.runs.checkpoint import ResumePoint, random_state, restore_random_state
from integral_pose.runs.checkpoint_saver import CheckpointKeeper
from integral_pose.runs.folder import RunFolder
from integral_pose.runs.status import RunStatus
from integral_pose.runs.stop import ScoringStopped, StopSignal
from integral_pose.training.meter import Meter
from integral_pose.training.non_finite import Made, NonFiniteWatch, SkippedSteps
from integral_pose.training.prefetch import on_device
from integral_pose.training.step import Loss, TrainStep

SECONDS_BETWEEN_QUESTIONS = 1.0  # processes ask each other together whether to stop


class Batches(Protocol):
    """Where the trainer gets its data from."""

    def __len__(self) -> int:
        """Batches of an epoch."""
        ...

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[PoseBatch]:
        """The batches of an epoch from `first_batch` on; this process's share of each."""
        ...

    def name(self, row: int) -> str:
        """What a row of the data is called, for messages."""
        ...


@dataclass(frozen=True)
class Stage:
    """A stretch of epochs with one loss and one learning-rate curve (step within the stage -> rate)."""

    epochs: int
    loss: Loss
    learning_rate: Callable[[int], float]


@dataclass(frozen=True)
class TrainerSettings:
    """When something is written. Counts are in steps unless the name says epochs."""

    batch_size: int
    max_steps: int | None
    checkpoint_every: int | None
    keep_checkpoints: int
    log_every: int
    pictures_every_epochs: int
    evaluate_every_epochs: int


@dataclass
class Progress:
    """Where a run stands: `batch` is the next one of `epoch`, `step` counts all steps so far."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    scored_step: int = -1
    best_mm: float = float("inf")


class Trainer:
    """Trains a model in place. `evaluate` scores it on held-out data (None: nothing is held out).

    A signal of `stop` is granted after the step; `evaluate` raises ScoringStopped where it saw one.
    """

    def __init__(
        self,
        *,
        train_step: TrainStep,
        batches: Batches,
        stages: Sequence[Stage],
        settings: TrainerSettings,
        folder: RunFolder,
        processes: Processes,
        evaluate: Callable[[nn.Module], Scores] | None,
        illustrate: Callable[[nn.Module], Mapping[str, NDArray[np.uint8]]],
        config_yaml: str,
        stop: StopSignal,
        status: RunStatus,
    ) -> None:
        self.train_step, self.batches, self.stages = train_step, batches, stages
        self.settings, self.folder, self.processes = settings, folder, processes
        self.evaluate, self.illustrate, self.config_yaml = evaluate, illustrate, config_yaml
        self.progress, self.meter = Progress(), Meter()
        self.history: list[dict[str, Any]] = []  # what was changed in the configuration, and at which step
        self.keeper = CheckpointKeeper(folder, processes)
        self.stop, self.status = stop, status
        self.watch = NonFiniteWatch(train_step, processes, folder.path, batches.name)
        self._saved_step = -1
        self._next_question = self._last_question = 0  # steps
        self._asked_at = time.monotonic()

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        planned = sum(stage.epochs for stage in self.stages) * len(self.batches)
        return min(planned, self.settings.max_steps or planned)

    def fit(self) -> None:
        """Train from where the run stands to its end, when all is on disk.

        Raises Interrupted after a signal, everything saved; NonFiniteLossError after too many losses or gradients
        that are no numbers; OutputError where the last state cannot be saved.
        """
        try:
            self._fit()
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt | OutputError):  # whoever presses twice waits for no disk
                self.keeper.write_what_waits()
            raise

    def save(self, *, wait: bool = False) -> None:
        """Write last.pt: all that a continuation needs. Called at the same step in every process.

        Training waits for a copy in memory alone, or with `wait` until all is on disk.
        """
        self.watch.read()
        self._saved_step = self.progress.step
        meters, generators = zip(*self.processes.gather((self.meter.state(), random_state())), strict=True)
        self.keeper.write(
            self.folder.last,
            {
                **self.train_step.state(),
                "progress": vars(self.progress),
                "meter": list(meters),
                "skipped": self.watch.skipped.state(),
                "random": list(generators),
                "config": self.config_yaml,
                "history": self.history,
            },
            keep_previous=self.settings.keep_checkpoints - 1,
        )
        self.status.running(self.progress.step, self.num_steps)
        if wait:
            self.keeper.wait()

    def resume(self, found: ResumePoint, changes: Sequence[Mapping[str, Any]] = ()) -> None:
        """Continue from a checkpoint. `changes` are those of the configuration since it was written.

        Raises CheckpointError if it cannot be used, or if the processes were handed different ones.
        """
        content = found.content
        self.train_step.restore(content, found.path)
        self.progress = Progress(**content["progress"])
        self._saved_step = self.progress.step
        self._compare_best()
        self.history = [*content.get("history", []), *({"step": self.progress.step, **change} for change in changes)]
        if not changes:  # other weights have other terms
            meters = content["meter"] if isinstance(content["meter"], list) else [content["meter"]]  # before format 2
            own = Meter.share(meters, self.processes.rank, self.processes.world)
            self.meter.restore(own, self.train_step.device)
        self.watch.skipped = SkippedSteps(**content.get("skipped", {}))
        if self.processes.rank < len(content["random"]):
            restore_random_state(content["random"][self.processes.rank])
        for damaged in found.damaged:
            self.folder.set_aside(damaged)

    def _fit(self) -> None:
        self._warn_if_finished_before()
        with self._progress_bar() as bar:
            if self._owes_a_score():  # a signal came while it was being found
                self._finish_epoch()
            first_epoch = self.progress.epoch
            for epoch, stage, stage_first_epoch in self._epochs():
                if epoch >= first_epoch and self.progress.step < self.num_steps:
                    self._train_epoch(stage, stage_first_epoch, bar)
        if self.progress.scored_step != self.progress.step:
            self._score()
            self._saved_step = -1  # that it was scored is part of the state
        if self._saved_step != self.progress.step:
            self.save()
        self.keeper.wait()

    def _compare_best(self) -> None:
        """best.pt may be missing, damaged or an older one than was noted: then the next good score writes it anew."""
        if self.progress.scored_step < 0:
            return
        try:
            kept_mm = load_checkpoint(self.folder.best)["progress"]["best_mm"]
        except CheckpointError as error:
            kept_mm = float("inf")
            if self.processes.is_first:
                tqdm.write(f"{error}. The next score writes it anew", file=sys.stderr)
        self.progress.best_mm = max(self.progress.best_mm, kept_mm)

    def _epochs(self) -> Iterator[tuple[int, Stage, int]]:
        """(epoch, its stage, first epoch of that stage)."""
        epoch = 0
        for stage in self.stages:
            first = epoch
            for epoch in range(first, first + stage.epochs):
                yield epoch, stage, first
            epoch = first + stage.epochs

    def _train_epoch(self, stage: Stage, stage_first_epoch: int, bar: tqdm[Any]) -> None:
        progress, every = self.progress, self.settings.checkpoint_every
        bar.set_description(f"epoch {progress.epoch + 1}", refresh=False)
        self.train_step.model.train()
        waiting_since = time.monotonic()
        if progress.epoch == stage_first_epoch and progress.batch == 0:
            self.meter.reset()  # another stage has other terms
        for batch in on_device(self.batches.epoch(progress.epoch, progress.batch), self.train_step.device):
            waited_s = time.monotonic() - waiting_since
            step_in_stage = (progress.epoch - stage_first_epoch) * len(self.batches) + progress.batch
            learning_rate = stage.learning_rate(step_in_stage)
            values = self.train_step(batch, stage.loss, learning_rate)
            progress.step += 1
            progress.batch += 1
            skipped = values.pop("skipped")
            self.meter.add(values, counts=~skipped)
            self.meter.add_work(self.settings.batch_size, waited_s)
            self.watch.add(Made(progress.step, batch, values, skipped))
            bar.update(self.settings.batch_size)
            if progress.step % self.settings.log_every == 0:
                self._log(learning_rate, bar)
            self._leave_if_asked()
            if progress.step >= self.num_steps and progress.batch < len(self.batches):
                self.save()
                return
            if every and progress.step % every == 0 and progress.batch < len(self.batches):
                self.save()
            waiting_since = time.monotonic()
        self._end_epoch()

    def _end_epoch(self) -> None:
        self.progress.epoch += 1
        self.progress.batch = 0
        self._finish_epoch()

    def _owes_a_score(self) -> bool:
        """Whether the last epoch's steps are made but its score is missing."""
        at_end = self.progress.batch == 0 and self.progress.epoch > 0
        is_due = self.progress.epoch % self.settings.evaluate_every_epochs == 0
        return at_end and is_due and self.progress.scored_step != self.progress.step

    def _finish_epoch(self) -> None:
        """Score, pictures and checkpoint, each where it is due; what a stopped run does first when it goes on."""
        if self._owes_a_score():
            self._score()
        if self.progress.epoch % self.settings.pictures_every_epochs == 0 and self.processes.is_first:
            for name, picture in self.illustrate(self.train_step.averaged_model).items():
                self.folder.show(self.progress.step, name, picture)
        self._leave_if_asked(now=True)
        every = self.settings.checkpoint_every
        if every is None or self.progress.step % every == 0:
            self.save()

    def _score(self) -> None:
        """Score the model on the held-out data; keep it as best.pt if no earlier one was better."""
        score_mm = float("inf")
        if self.evaluate is not None:
            self.processes.equalise_buffers(self.train_step.averaged_model)  # that is what best.pt will hold
            try:
                scores = self.evaluate(self.train_step.averaged_model)
            except ScoringStopped:
                self._leave()
            score_mm = scores.mpjpe_mm
            values = {"mpjpe_mm": scores.mpjpe_mm, "pa_mpjpe_mm": scores.pa_mpjpe_mm, "epoch": self.progress.epoch}
            self.folder.log(self.progress.step, "val", values)
            if self.processes.is_first:
                tqdm.write(f"epoch {self.progress.epoch}: held-out MPJPE {score_mm:.1f} mm", file=sys.stderr)
        self.progress.scored_step = self.progress.step
        # Without held-out data the newest is the best that can be said.
        if self.evaluate is None or score_mm < self.progress.best_mm:
            self.progress.best_mm = score_mm
            content = {"model": self.train_step.averaged_model.state_dict(), "config": self.config_yaml}
            self.keeper.write(self.folder.best, {**content, "progress": vars(self.progress)})

    def _log(self, learning_rate: float, bar: tqdm[Any]) -> None:
        means = {**self.meter.means(), "mpjpe_mm": self.train_step.error_mm()}
        names = sorted(means)
        over_ranks = self.processes.mean(torch.stack([means[name] for name in names])).tolist()
        self.watch.read()
        # Where every step of the window was skipped there is nothing that could be said of a loss.
        values = {name: mean for name, mean in zip(names, over_ranks, strict=True) if not math.isnan(mean)}
        epoch = {
            "skipped_steps": self.watch.skipped.total,
            "epoch": self.progress.epoch,
            "learning_rate": learning_rate,
        }
        self.folder.log(self.progress.step, "train", {**values, **self.meter.speed(), **epoch})
        if values:
            error_mm = values.get("mpjpe_mm", math.nan)
            bar.set_postfix_str(f"loss {values['loss']:.4g}, train MPJPE {error_mm:.0f} mm", refresh=False)
        self.meter.reset()

    def _leave_if_asked(self, *, now: bool = False) -> None:
        # With many processes the question is asked together, and not so often that it slows the steps.
        step = self.progress.step
        if self.processes.world > 1 and step < self._next_question and not now:
            return
        steps_a_second = (step - self._last_question) / max(time.monotonic() - self._asked_at, 1e-6)
        wait = max(1, int(steps_a_second * SECONDS_BETWEEN_QUESTIONS))
        asked, wait = self.processes.agree(bool(self.stop), wait, self.train_step.device)
        self._last_question, self._next_question, self._asked_at = step, step + wait, time.monotonic()
        if asked:
            self._leave()

    def _leave(self) -> NoReturn:
        self.save(wait=True)
        raise Interrupted(
            f"stopped by {self.stop.name or 'a signal to another process'} after step {self.progress.step} of "
            f"{self.num_steps}; all is saved in {self.folder.last}. The same command continues from there"
        )

    def _warn_if_finished_before(self) -> None:
        if self.progress.step >= self.num_steps and self.processes.is_first:
            tqdm.write(f"{self.folder.path}: the run is complete after step {self.progress.step}", file=sys.stderr)

    def _progress_bar(self) -> tqdm[Any]:
        """Images of the whole run, so that the time left is the run's; rare lines where no one watches."""
        size, watched = self.settings.batch_size, sys.stderr.isatty()
        return tqdm(
            total=self.num_steps * size,
            initial=self.progress.step * size,
            unit="img",
            mininterval=0.5 if watched else 30,
            dynamic_ncols=watched,
            disable=not self.processes.is_first,
        )
