"""Samples -> batches. The order is a function of (seed, epoch) alone, whatever the number of processes."""

from __future__ import annotations

import atexit
import signal
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from integral_pose.contracts import PoseBatch, PoseSample, SampleKey
from integral_pose.data.augmentation import Augmentation
from integral_pose.data.course import PoseTable
from integral_pose.data.images import read_image
from integral_pose.errors import DataError, IntegralPoseError

EVALUATION_EPOCH = 0


class PoseImages(Dataset[PoseSample]):
    """Reads, scales and augments the images of a table; hands out whole batches as tensors."""

    def __init__(
        self, table: PoseTable, stored_size: int, image_size: Sequence[int], augmentation: Augmentation | None
    ) -> None:
        self.table, self.stored_size, self.augmentation = table, stored_size, augmentation
        self.height, self.width = image_size

    def __len__(self) -> int:
        return len(self.table)

    def sample(self, key: SampleKey) -> PoseSample:
        """One sample as the network sees it in that epoch."""
        path = self.table.images_folder / self.table.name(key.row)
        scale = np.array([self.width, self.height], np.float32) / self.stored_size
        sample = PoseSample(
            index=key.row,
            image=read_image(path, self.stored_size, self.height, self.width),
            joints_camera_mm=self.table.joints_camera_mm[key.row],
            joints_crop_px=self.table.joints_crop_px[key.row] * scale,
        )
        return self.augmentation(sample, key) if self.augmentation else sample

    def __getitems__(self, keys: list[SampleKey]) -> PoseBatch | IntegralPoseError:
        """A batch; an error is returned, not raised, since torch would bury its text in a worker's traceback."""
        images = torch.empty((len(keys), self.height, self.width, 3), dtype=torch.uint8)
        try:
            samples = [self.sample(key) for key in keys]
        except IntegralPoseError as error:
            return error
        for row, sample in enumerate(samples):
            images[row] = torch.from_numpy(np.ascontiguousarray(sample.image))
        return PoseBatch(
            indices=torch.tensor([sample.index for sample in samples]),
            images=images.permute(0, 3, 1, 2),  # channels last in memory, as it came from the decoder
            joints_camera_mm=torch.from_numpy(np.stack([sample.joints_camera_mm for sample in samples])),
            joints_crop_px=torch.from_numpy(np.stack([sample.joints_crop_px for sample in samples])),
        )


class BatchOrder(Sampler[list[SampleKey]]):
    """This process's share of every global batch of an epoch, from any batch on.

    Process r of R takes entries r, r + R, ... of each global batch, so that the samples of a step are the same
    for every R. With `shuffle` the last, partial batch is dropped: a step always sees as many samples.
    """

    def __init__(self, num_samples: int, batch_size: int, *, seed: int, shuffle: bool, rank: int, world: int) -> None:
        self.num_samples, self.batch_size, self.seed, self.shuffle = num_samples, batch_size, seed, shuffle
        self.rank, self.world = rank, world
        self.epoch = self.first_batch = 0

    def __len__(self) -> int:
        full = self.num_samples // self.batch_size
        return full if self.shuffle else -(-self.num_samples // self.batch_size)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The rows of an epoch in the order in which they are seen."""
        if not self.shuffle:
            return np.arange(self.num_samples)
        return np.random.Generator(np.random.Philox(key=[self.seed, epoch])).permutation(self.num_samples)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order = self.order(self.epoch)
        for batch in range(self.first_batch, len(self)):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size][self.rank :: self.world]
            if len(rows):
                yield [SampleKey(self.epoch, int(row)) for row in rows]


class TrainingBatches:
    """Shuffled batches for the trainer, epoch by epoch, from any batch on."""

    def __init__(
        self, images: PoseImages, batch_size: int, *, seed: int, workers: int, rank: int, world: int, pin_memory: bool
    ) -> None:
        if len(images) < batch_size:
            raise DataError(
                f"{len(images)} training images are fewer than trainer.batch_size {batch_size}, which would give no "
                "step at all; take a smaller batch"
            )
        self._images = images
        self._order = BatchOrder(len(images), batch_size, seed=seed, shuffle=True, rank=rank, world=world)
        self._loader = _data_loader(images, self._order, workers, pin_memory)

    def __len__(self) -> int:
        return len(self._order)

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[PoseBatch]:
        """The batches of an epoch from `first_batch` on. Raises DataError if an image cannot be read."""
        self._order.epoch, self._order.first_batch = epoch, first_batch
        return _raising(self._loader)

    def name(self, row: int) -> str:
        """The image path of a row, for messages."""
        return self._images.table.name(row)


class EvaluationBatches:
    """Every sample of a table once, in order, over all processes together."""

    def __init__(
        self, images: PoseImages, batch_size: int, *, workers: int, rank: int, world: int, pin_memory: bool
    ) -> None:
        order = BatchOrder(len(images), batch_size * world, seed=0, shuffle=False, rank=rank, world=world)
        self._order, self._loader = order, _data_loader(images, order, workers, pin_memory)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[PoseBatch]:
        return _raising(self._loader)


def _data_loader(images: PoseImages, order: BatchOrder, workers: int, pin_memory: bool) -> DataLoader[Any]:
    loader = DataLoader(
        images,
        batch_sampler=order,
        collate_fn=_as_is,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        worker_init_fn=_quiet_worker,
        generator=torch.Generator(),  # else every epoch would draw from the global stream, which a run must not share
    )
    if workers > 0:
        atexit.register(_end_workers, weakref.ref(loader))
    return loader


def _raising(loader: DataLoader[Any]) -> Iterator[PoseBatch]:
    for batch in loader:
        if isinstance(batch, IntegralPoseError):
            raise batch
        yield batch


def _end_workers(reference: weakref.ref[DataLoader[Any]]) -> None:
    """Called before Python's own clean-up, which ends child processes by the very signal that ours ignore."""
    loader = reference()
    if loader is not None and loader._iterator is not None:
        shut_down = getattr(loader._iterator, "_shutdown_workers")  # noqa: B009 - torch has no public call for it
        shut_down()


def _as_is(batch: Any) -> Any:
    return batch


def _quiet_worker(_: int) -> None:
    """Signals go to the whole process group; the main process decides, so workers must outlive them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
