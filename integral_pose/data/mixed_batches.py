"""Batches that hold a fixed number of images of each of several sources.

An epoch is that of the first source. The others go round and round, so that each image of a source is seen as often as
any other; where they stand is a function of the epoch and the batch, as everything drawn is.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from integral_pose.contracts import MixedBatch, SampleKey
from integral_pose.data.batch_order import BatchOrder
from integral_pose.data.batches import EpochBatches, ReplacedBatch
from integral_pose.data.loader import WORKER_TIMEOUT_S, PoseImages
from integral_pose.errors import DataError, IntegralPoseError

MixedKeys = tuple[list[SampleKey], ...]  # of each source


class SourceImages(NamedTuple):
    """The images of one source, and how many of them each batch holds."""

    images: PoseImages
    number: int
    name: str


class MixedOrder(Sampler[MixedKeys]):
    """The orders of all sources side by side."""

    def __init__(self, orders: Sequence[BatchOrder]) -> None:
        self.orders, self.epoch, self.first_batch = orders, 0, 0

    def __len__(self) -> int:
        return len(self.orders[0])

    def __iter__(self) -> Iterator[MixedKeys]:
        orders = [copy.copy(order) for order in self.orders]  # another iteration may be under way
        for order in orders:
            order.epoch, order.first_batch = self.epoch, self.first_batch
        return zip(*orders, strict=True)


class MixedImages(Dataset[MixedBatch]):
    """The images of all sources; `indices` of its batches count through them, laid end to end."""

    def __init__(self, sources: Sequence[PoseImages]) -> None:
        self.sources = sources
        self.first_rows = [0, *accumulate(map(len, sources))][:-1]

    def __getitems__(self, keys: MixedKeys) -> MixedBatch | ReplacedBatch | IntegralPoseError:
        """A batch; an error is returned, as `PoseImages` does."""
        parts, faults = [], []
        for images, first_row, own in zip(self.sources, self.first_rows, keys, strict=True):
            made = images.__getitems__(own)
            if isinstance(made, IntegralPoseError):
                return made
            if isinstance(made, ReplacedBatch):
                faults += made.faults
            batch = made.batch if isinstance(made, ReplacedBatch) else made
            parts += [replace(part, indices=part.indices + first_row) for part in batch.sources]
        mixed = MixedBatch(tuple(parts))
        return ReplacedBatch(mixed, faults) if faults else mixed

    def name(self, row: int) -> str:
        """The image path of a row, counted through all sources."""
        source = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        return self.sources[source].name(row - self.first_rows[source])

    def names(self, keys: MixedKeys) -> list[str]:
        """The image paths of a batch."""
        return [name for images, own in zip(self.sources, keys, strict=True) for name in images.names(own)]


class MixedBatches(EpochBatches[MixedKeys]):
    """Shuffled batches of several sources for the trainer, as `TrainingBatches` are of one."""

    def __init__(
        self,
        sources: Sequence[SourceImages],
        *,
        seed: int,
        workers: int,
        rank: int,
        world: int,
        pin_memory: bool,
        epoch_images: int | None = None,
        worker_timeout_s: int = WORKER_TIMEOUT_S,
    ) -> None:
        for source in sources:
            if len(source.images) < source.number:
                raise DataError(
                    f"data.sources: {source.name} has {len(source.images)} images, fewer than the {source.number} that "
                    "each batch is to hold of it; take fewer"
                )
        orders: list[BatchOrder] = []
        for i, source in enumerate(sources):
            length = len(orders[0]) * source.number if orders else epoch_images
            order = BatchOrder(
                len(source.images), source.number, seed=seed_of_source(seed, i), shuffle=True, rank=rank, world=world,
                epoch_images=length,
            )  # fmt: skip
            orders.append(order)
        images = MixedImages([source.images for source in sources])
        super().__init__(images, MixedOrder(orders), workers, pin_memory, worker_timeout_s)


def seed_of_source(seed: int, source: int) -> int:
    """What the draws of a source start from; the first one's are those of a run without others."""
    return seed if source == 0 else int(np.random.SeedSequence([seed, source]).generate_state(1, np.uint32)[0])
