"""The training loop: stages, epochs, steps. Everything it works on is handed in.

A run is a function of its configuration: it can be stopped after any step and continued to the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from integral_pose.contracts import Scores, TrainingBatch
from integral_pose.errors import Interrupted, NonFiniteLossError, OutputError, WorkerError
from integral_pose.io.distributed import Processes
from integral_pose.io.notices import notify
from integral_pose.io.progress import ProgressDisplay
from integral_pose.runs.checkpoint import ResumePoint
from integral_pose.runs.output import RunOutput
from integral_pose.runs.stop import ScoringStopped, StopSignal
from integral_pose.training.best import BestModel
from integral_pose.training.non_finite import NonFiniteSteps, StepRecord
from integral_pose.training.plan import Batches, Stage, TrainerSettings
from integral_pose.training.prefetch import on_device, timed
from integral_pose.training.shared_stop import SaveTimer, SharedStop
from integral_pose.training.state import TrainingState
from integral_pose.training.step import TrainStep


class Trainer:
    """Trains a model in place. `evaluate` scores it on held-out data (None: nothing is held out).

    A request to `stop` is met after the step; `evaluate` raises ScoringStopped where it saw one.
    """

    def __init__(
        self,
        *,
        train_step: TrainStep,
        batches: Batches,
        stages: Sequence[Stage],
        settings: TrainerSettings,
        output: RunOutput,
        processes: Processes,
        stop: StopSignal,
        evaluate: Callable[[nn.Module], Scores] | None,
        draw_samples: Callable[[nn.Module], Mapping[str, NDArray[np.uint8]]],
    ) -> None:
        self.batches, self.stages, self.settings = batches, stages, settings
        self.output, self.processes, self.draw_samples = output, processes, draw_samples
        self.state = TrainingState(train_step, processes)
        self._best = BestModel(evaluate, output, processes)
        self._stop = SharedStop(stop, processes, train_step.device)
        self._non_finite = NonFiniteSteps(self.state, processes, output.folder.path, batches)
        self._save_timer = SaveTimer(settings.checkpoint_seconds)
        self._time_to_save = SharedStop(self._save_timer, processes, train_step.device)
        self._saved_step = -1

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        planned = sum(stage.epochs for stage in self.stages) * len(self.batches)
        return min(planned, self.settings.max_steps or planned)

    def fit(self) -> None:
        """Train from where the run stands to its end, when all is on disk.

        Raises Interrupted after a signal, everything saved; NonFiniteLossError after too many losses or gradients
        that are not finite; OutputError where the last state cannot be saved.
        """
        progress, train_step = self.state.progress, self.state.train_step
        with self.output.saver.completed(), self._saved_at_faults(), self._display() as shown:
            if self._lacks_score():  # a signal came while it was being computed
                self._finish_epoch()
            for stage, first_epoch in self._epochs_to_come():
                self._begin_epoch(first_epoch, shown)
                for batch, waited_s in self._batches_to_come():
                    step_in_stage = (progress.epoch - first_epoch) * len(self.batches) + progress.batch
                    learning_rate = stage.learning_rate(step_in_stage)
                    self._count(train_step(batch, stage.loss, learning_rate), waited_s)
                    shown.add(self.settings.batch_size)
                    if progress.step % self.settings.log_every == 0:
                        self._log(learning_rate, shown)
                    self._leave_if_asked()
                    ends_here = progress.step >= self.num_steps and progress.batch < len(self.batches)
                    if ends_here or (self._is_save_due() and progress.batch < len(self.batches)):
                        self.save()
                    if ends_here:
                        break
                else:
                    progress.epoch, progress.batch = progress.epoch + 1, 0
                    self._finish_epoch()
            self._finish_run()

    def save(self, *, wait: bool = False) -> None:
        """Write last.pt: all that a continuation needs. Called at the same step in every process.

        Training waits for a copy in memory alone, or with `wait` until all is on disk.
        """
        self._non_finite.read()
        self._saved_step = self.state.progress.step
        self._save_timer.restart()
        content = {**self.state.content(), **self.output.made_of}
        self.output.saver.save(self.output.folder.last, content, keep_previous=self.settings.keep_checkpoints - 1)
        self.output.status.running(self.state.progress.step, self.num_steps)
        if wait:
            self.output.saver.wait()

    def resume(self, found: ResumePoint, changes: Sequence[Mapping[str, Any]] = ()) -> None:
        """Continue from a checkpoint. `changes` are those of the configuration since it was written.

        Raises CheckpointError if it is of another model.
        """
        self.state.restore(found, changes)
        self._saved_step = self.state.progress.step
        self._best.compare_file(self.state.progress)
        for damaged in found.damaged:
            self.output.folder.set_aside(damaged)

    def _epochs_to_come(self) -> Iterator[tuple[Stage, int]]:
        """(stage, first epoch of that stage) of each epoch that is not over."""
        progress, first_epoch = self.state.progress, 0
        for stage in self.stages:
            for epoch in range(first_epoch, first_epoch + stage.epochs):
                if epoch >= progress.epoch and progress.step < self.num_steps:
                    yield stage, first_epoch
            first_epoch += stage.epochs

    def _batches_to_come(self) -> Iterator[tuple[TrainingBatch, float]]:
        """(batch, seconds waited for it) of the rest of the epoch."""
        progress = self.state.progress
        return timed(on_device(self.batches.epoch(progress.epoch, progress.batch), self.state.train_step.device))

    def _begin_epoch(self, stage_first_epoch: int, shown: ProgressDisplay) -> None:
        progress = self.state.progress
        shown.title = f"epoch {progress.epoch + 1}"
        self.state.train_step.model.train()
        if progress.epoch == stage_first_epoch and progress.batch == 0:
            self.state.meter.reset()  # another stage has other terms

    def _count(self, values: dict[str, torch.Tensor], waited_s: float) -> None:
        """One more step."""
        place = self.state.progress.epoch, self.state.progress.batch
        self.state.progress.step += 1
        self.state.progress.batch += 1
        skipped = values.pop("skipped")
        self.state.meter.add(values, counts=~skipped)
        self.state.meter.add_work(self.settings.batch_size, waited_s)
        self._non_finite.add(StepRecord(self.state.progress.step, *place, values, skipped))

    def _is_save_due(self) -> bool:
        step, every = self.state.progress.step, self.settings.checkpoint_every
        by_time = self.settings.checkpoint_seconds is not None and self._time_to_save.is_asked(step)
        return by_time or (every is not None and step % every == 0)

    @contextmanager
    def _saved_at_faults(self) -> Iterator[None]:
        """An error of a step, or between two, costs no more than that step.

        Only of a process that trains alone: the others are within the next step and cannot be asked for their part.
        """
        try:
            yield
        except (Interrupted, NonFiniteLossError, OutputError):  # saved already, or not worth it, or not possible
            raise
        except Exception:
            is_new = self._saved_step != self.state.progress.step
            if self.processes.world == 1 and self.state.train_step.is_whole and is_new:
                self.output.folder.attempt("last.pt", self.save)
            raise

    def _lacks_score(self) -> bool:
        """Whether the last epoch's steps are made but its score is missing."""
        progress = self.state.progress
        at_end = progress.batch == 0 and progress.epoch > 0
        is_due = progress.epoch % self.settings.evaluate_every_epochs == 0
        return at_end and is_due and progress.scored_step != progress.step

    def _finish_epoch(self) -> None:
        """Checkpoint, score and pictures, each where it is due; what a stopped run does first when it goes on.

        Saved first: a held-out image may be damaged, and a score takes long.
        """
        progress, lacks_score = self.state.progress, self._lacks_score()
        draws = progress.epoch % self.settings.pictures_every_epochs == 0
        after_every = self.settings.checkpoint_every is None
        is_due = lacks_score or draws or after_every or progress.step % (self.settings.checkpoint_every or 1) == 0
        if is_due and self._saved_step != progress.step:
            self.save()
        if lacks_score and self._score_if_possible():
            self.save()
        if draws and self.processes.is_first:
            self.output.folder.attempt("pictures of samples", self._draw)
        self._leave_if_asked(now=True)

    def _finish_run(self) -> None:
        progress = self.state.progress
        if self._saved_step != progress.step:
            self.save()
        if progress.scored_step != progress.step:
            self._score()
            self.save()  # that it was scored is part of the state

    def _score(self) -> None:
        try:
            self._best.score(self.state.train_step.averaged_model, self.state.progress)
        except ScoringStopped:
            self._leave()

    def _score_if_possible(self) -> bool:
        """Whether it could be scored; where not, that is said, and the next epoch tries again.

        Processes that train together end instead: which of them failed, the others cannot know.
        """
        try:
            self._score()
        except (Interrupted, OutputError, WorkerError):  # all workers have been ended, those of training too
            raise
        except Exception as error:
            if self.processes.world > 1:
                raise
            epoch = self.state.progress.epoch
            notify(
                f"epoch {epoch}: not scored: {error or type(error).__name__}. It is tried again after the next epoch"
            )
            return False
        return True

    def _draw(self) -> None:
        for name, picture in self.draw_samples(self.state.train_step.averaged_model).items():
            self.output.show(self.state.progress.step, name, picture)

    def _log(self, learning_rate: float, shown: ProgressDisplay) -> None:
        progress, meter = self.state.progress, self.state.meter
        means = {**meter.means(), "mpjpe_mm": self.state.train_step.error_mm()}
        names = sorted(means)
        over_ranks = self.processes.mean(torch.stack([means[name] for name in names])).tolist()
        self._non_finite.read()
        # Where every step of the window was skipped there is no loss to report.
        values = {name: mean for name, mean in zip(names, over_ranks, strict=True) if not math.isnan(mean)}
        skipped = self.state.skipped.total
        epoch = {"skipped_steps": skipped, "epoch": progress.epoch, "learning_rate": learning_rate}
        self.output.log(progress.step, "train", {**values, **meter.speed(), **epoch})
        if values:
            error_mm = values.get("mpjpe_mm", math.nan)
            shown.note = f"loss {values['loss']:.4g}, MPJPE {error_mm:.0f} mm"
        meter.reset()

    def _leave_if_asked(self, *, now: bool = False) -> None:
        if self._stop.is_asked(self.state.progress.step, now=now):
            self._leave()

    def _leave(self) -> NoReturn:
        self.save(wait=True)
        raise Interrupted(
            f"stopped by {self._stop.reason} after step {self.state.progress.step} of {self.num_steps}; all is saved "
            f"in {self.output.folder.last}. The same command continues from there"
        )

    def _display(self) -> ProgressDisplay:
        """Images of the whole run, so that the time left is the run's."""
        size, step = self.settings.batch_size, self.state.progress.step
        if step >= self.num_steps and self.processes.is_first:
            notify(f"{self.output.folder.path}: the run is complete after step {step}")
        total = self.num_steps * size
        return ProgressDisplay(total, "images", "training", done=step * size, show=self.processes.is_first)
