"""Batches in the order of a sequence of keys, made by worker processes, whatever they are made of."""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch.utils.data import Dataset, Sampler

from integral_pose.contracts import TrainingBatch
from integral_pose.data.workers import PatientLoader, start_worker, watched
from integral_pose.errors import IntegralPoseError
from integral_pose.io.notices import notify

MOST_FAULTS_SHOWN = 20


@dataclass
class ReplacedBatch:
    """A batch in which other images took the places of some, and what was wrong with these."""

    batch: TrainingBatch
    faults: list[str]

    def pin_memory(self) -> ReplacedBatch:
        """The same in page-locked memory. Called by the data loader."""
        return ReplacedBatch(self.batch.pin_memory(), self.faults)


Keys = TypeVar("Keys")
Asked = TypeVar("Asked", contravariant=True)
Given = TypeVar("Given", covariant=True)


class BatchImages(Protocol[Asked]):
    """A data set of torch that makes batches; `Asked` says which samples one holds."""

    def __getitems__(self, keys: Asked) -> TrainingBatch | ReplacedBatch | IntegralPoseError:
        """A batch; an error is returned."""
        ...

    def name(self, row: int) -> str:
        """The image path of a row."""
        ...

    def names(self, keys: Asked) -> list[str]:
        """The image paths of a batch."""
        ...


class BatchSequence(Protocol[Given]):
    """The keys of this process's share of each batch of `epoch`, from `first_batch` on."""

    epoch: int
    first_batch: int

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Given]: ...


class LoadedBatches(Generic[Keys]):
    """The batches of an order, made by worker processes."""

    def __init__(
        self, images: BatchImages[Keys], order: BatchSequence[Keys], workers: int, pin_memory: bool, timeout_s: int
    ) -> None:
        self.order, self._images = order, images
        self._loader = PatientLoader(
            cast(Dataset[Any], images),
            batch_sampler=cast(Sampler[list[Any]], order),
            collate_fn=as_is,
            num_workers=workers,
            timeout=timeout_s if workers else 0,
            # Forked workers share the table; where processes start afresh, each is sent a copy of it.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            worker_init_fn=start_worker,
            generator=torch.Generator(),  # else every epoch would draw from the global one, which a run must not share
        )

    def __len__(self) -> int:
        return len(self.order)

    def read(self, epoch: int, first_batch: int, faults: list[str]) -> Iterator[TrainingBatch]:
        """An epoch from a batch on; what was wrong with replaced images is added to `faults`.

        Raises DataError for an image that cannot be read, WorkerError where a worker is lost or hangs.
        """
        self.order.epoch, self.order.first_batch = epoch, first_batch
        given = 0

        def next_images() -> str:
            self.order.first_batch = first_batch + given
            return ", ".join(name for keys in itertools.islice(self.order, 1) for name in self._images.names(keys))

        for batch in watched(self._loader, next_images):
            given += 1
            if isinstance(batch, IntegralPoseError):
                raise batch
            if isinstance(batch, ReplacedBatch):
                faults += batch.faults
                batch = batch.batch
            yield batch

    def again(self, epoch: int, number: int) -> TrainingBatch:
        """Batch `number` of an epoch, made by this process; what `epoch` gives meanwhile stays as it is."""
        order = copy.copy(self.order)
        order.epoch, order.first_batch = epoch, number
        made = self._images.__getitems__(next(iter(order)))
        if isinstance(made, IntegralPoseError):
            raise made
        return made.batch if isinstance(made, ReplacedBatch) else made


class EpochBatches(LoadedBatches[Keys]):
    """Batches for the trainer, epoch by epoch, from any batch on."""

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[TrainingBatch]:
        """The batches of an epoch from `first_batch` on; its end says which images could not be read.

        Raises DataError if an image cannot be read and is not to be skipped, WorkerError as `data.workers` can.
        """
        faults: list[str] = []
        yield from self.read(epoch, first_batch, faults)
        if faults:
            shown = "".join(f"\n  {fault}" for fault in faults[:MOST_FAULTS_SHOWN])
            more = f"\n  and {len(faults) - MOST_FAULTS_SHOWN} more" if len(faults) > MOST_FAULTS_SHOWN else ""
            number = f"{len(faults)} images" if len(faults) > 1 else "1 image"
            notify(f"epoch {epoch + 1}: {number} could not be read and others took their places:{shown}{more}")

    def name(self, row: int) -> str:
        """The image path of a row, for messages."""
        return self._images.name(row)


def as_is(batch: Any) -> Any:
    """What the images made is a batch already."""
    return batch
