"""All that changes while a model is trained: what last.pt holds and a continued run starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from integral_pose.io.distributed import Processes
from integral_pose.runs.checkpoint import ResumePoint, random_state, restore_random_state
from integral_pose.training.meter import Meter
from integral_pose.training.step import TrainStep


@dataclass
class Progress:
    """Where a run stands: `batch` is the next one of `epoch`, `step` counts all steps so far."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    scored_step: int = -1
    best_mm: float = float("inf")


@dataclass
class SkippedSteps:
    """How many steps were left out since they were not finite."""

    total: int = 0
    in_a_row: int = 0

    def add(self, skipped: bool) -> None:
        """One more step."""
        self.total += skipped
        self.in_a_row = self.in_a_row + 1 if skipped else 0


class TrainingState:
    """Model, average and optimiser (in `train_step`), progress, meter, skipped steps, torch's random generators."""

    def __init__(self, train_step: TrainStep, processes: Processes) -> None:
        self.train_step, self._processes = train_step, processes
        self.progress, self.meter, self.skipped = Progress(), Meter(), SkippedSteps()
        self.history: list[dict[str, Any]] = []  # what was changed in the configuration, and at which step

    def content(self) -> dict[str, Any]:
        """For a checkpoint. Called at the same step in every process, whose meters, generators and buffers it gathers.

        Buffers are batch statistics, which each process has of its own images; the model's are the first one's.
        """
        own = self.meter.state(), random_state(), self.train_step.buffers.state()
        meters, generators, buffers = zip(*self._processes.gather(own), strict=True)
        return {
            **self.train_step.state(),
            **({"buffers": list(buffers)} if len(buffers) > 1 else {}),  # of one they are in the model
            "progress": vars(self.progress),
            "meter": list(meters),
            "skipped": vars(self.skipped),
            "random": list(generators),
            "history": self.history,
        }

    def restore(self, found: ResumePoint, changes: Sequence[Mapping[str, Any]]) -> None:
        """Go back to a checkpoint. `changes` are those of the configuration since it was written.

        Raises CheckpointError if it is of another model.
        """
        content, rank = found.content, self._processes.rank
        self.train_step.restore(content, found.path)
        self.progress = Progress(**content["progress"])
        self.history = [*content.get("history", []), *({"step": self.progress.step, **change} for change in changes)]
        if not changes:  # other weights have other terms
            meters = content["meter"] if isinstance(content["meter"], list) else [content["meter"]]  # before format 2
            self.meter.restore(Meter.share(meters, rank, self._processes.world), self.train_step.device)
        self.skipped = SkippedSteps(**content.get("skipped", {}))
        if len(buffers := content.get("buffers", [])) == self._processes.world:
            self.train_step.buffers.restore(buffers[rank])
        if rank < len(content["random"]):
            restore_random_state(content["random"][rank])
