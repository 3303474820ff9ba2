"""What a trainer is given: batches, stages, and when something is written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from integral_pose.contracts import TrainingBatch
from integral_pose.training.step import Loss


class Batches(Protocol):
    """Where the trainer gets its data from."""

    def __len__(self) -> int:
        """Batches of an epoch."""
        ...

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[TrainingBatch]:
        """The batches of an epoch from `first_batch` on; this process's share of each."""
        ...

    def again(self, epoch: int, number: int) -> TrainingBatch:
        """One batch of an epoch once more; this process's share."""
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
    checkpoint_every: int | None  # None: after every epoch
    checkpoint_seconds: float | None  # and so often
    keep_checkpoints: int
    log_every: int
    pictures_every_epochs: int
    evaluate_every_epochs: int
