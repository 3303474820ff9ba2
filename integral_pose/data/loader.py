"""Samples -> batches, made by worker processes in the order of `batch_order`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from integral_pose.contracts import PoseBatch, PoseSample, SampleKey
from integral_pose.data.augmentation import Augmentation
from integral_pose.data.batch_order import BatchOrder
from integral_pose.data.batches import EpochBatches, LoadedBatches, ReplacedBatch
from integral_pose.data.course import PoseTable
from integral_pose.data.device_augmentation import DeviceAugmentation
from integral_pose.errors import DataError, IntegralPoseError
from integral_pose.geometry.lifting import move_views
from integral_pose.io.images import decode_crop, decode_crop_scaled

MOST_BAD_IN_A_ROW = 100  # then it is not the images
WORKER_TIMEOUT_S = 300


class PoseImages(Dataset[PoseSample]):
    """Reads, scales and augments the images of a table; hands out whole batches as tensors.

    With `scaled_decoding` the JPEG decoder scales the images: faster, and not to the last bit what `predict` sees, so
    for training alone. With `skip_bad` an image that cannot be read gives its place to the next one of the table that
    can. Batches come with what `on_device` will do to their pixels, and with the labels that they will have.
    """

    def __init__(
        self,
        table: PoseTable,
        stored_size: int,
        image_size: Sequence[int],
        augmentation: Augmentation | None,
        *,
        on_device: DeviceAugmentation | None = None,
        scaled_decoding: bool = False,
        skip_bad: bool = False,
    ) -> None:
        self.table, self.stored_size, self.augmentation = table, stored_size, augmentation
        self.height, self.width = image_size
        self.on_device, self.scaled_decoding, self.skip_bad = on_device, scaled_decoding, skip_bad
        self.px_per_stored_px = np.array([self.width / stored_size, self.height / stored_size], np.float32)
        self._images, self._is_complete, self._has_mm = table.images, table.is_complete, table.has_labels

    def __len__(self) -> int:
        return len(self.table)

    def __getitems__(self, keys: list[SampleKey]) -> PoseBatch | ReplacedBatch | IntegralPoseError:
        """A batch; an error is returned, not raised, since torch would bury its text in a worker's traceback."""
        images = torch.empty((len(keys), self.height, self.width, 3), dtype=torch.uint8)
        pixels = images.numpy()
        try:
            found = [self._fill(pixels[at], key.row) for at, key in enumerate(keys)]
        except IntegralPoseError as error:
            return error
        rows = np.array([row for row, _ in found], np.int64)
        batch = self._batch(images, rows, keys)
        faults = [fault for _, faults in found for fault in faults]
        return ReplacedBatch(batch, faults) if faults else batch

    def name(self, row: int) -> str:
        """The image path of a row, for messages."""
        return self.table.name(row)

    def names(self, keys: Iterable[SampleKey]) -> list[str]:
        """The image paths of a batch."""
        return [self.name(key.row) for key in keys]

    def read(self, rows: Iterable[int]) -> PoseBatch:
        """Some rows as the first epoch has them. Raises the error of an image that has none to take its place."""
        batch = self.__getitems__([SampleKey(0, row) for row in rows])
        if isinstance(batch, IntegralPoseError):
            raise batch
        return cast(PoseBatch, batch.batch) if isinstance(batch, ReplacedBatch) else batch

    def _fill(self, pixels: NDArray[np.uint8], row: int) -> tuple[int, list[str]]:
        """Decode an image into `pixels` (H, W, 3); returns the row it is of, and what was wrong with those before."""
        decode = decode_crop_scaled if self.scaled_decoding else decode_crop
        faults: list[str] = []
        for at in range(row, row + min(len(self.table), MOST_BAD_IN_A_ROW)):
            at %= len(self.table)
            try:
                decode(self._images.read(at), self.stored_size, pixels)
                return at, faults
            except DataError as error:
                faults.append(str(error))
            except ValueError as error:
                faults.append(f"{self._images.describe(at)}: {error}")
            if not self.skip_bad:
                break
        more = f" (and the {len(faults) - 1} images after it cannot be read either)" if len(faults) > 1 else ""
        raise DataError(faults[0] + more)

    def _batch(self, images: torch.Tensor, rows: NDArray[np.int64], keys: list[SampleKey]) -> PoseBatch:
        """Images (B, H, W, 3) of some rows with their labels, augmented."""
        joints_camera_mm = self.table.joints_camera_mm[rows]
        joints_crop_px = self.table.joints_crop_px[rows] * self.px_per_stored_px
        views = None if self.table.views is None else self.table.views.batch(rows, self.px_per_stored_px)
        if self.augmentation:
            moved, axes = np.empty((len(rows), 2, 3), np.float32), np.empty((len(rows), 3, 3), np.float32)
            for at, (row, key) in enumerate(zip(rows.tolist(), keys, strict=True)):
                sample = PoseSample(row, images[at].numpy(), joints_camera_mm[at], joints_crop_px[at])
                sample = self.augmentation(sample, SampleKey(key.epoch, row))
                images[at] = torch.from_numpy(np.ascontiguousarray(sample.image))
                joints_camera_mm[at], joints_crop_px[at] = sample.joints_camera_mm, sample.joints_crop_px
                moved[at], axes[at] = sample.moved, sample.label_axes
            views = None if views is None else move_views(views, torch.from_numpy(moved), torch.from_numpy(axes))
        batch = PoseBatch(
            indices=torch.from_numpy(rows),
            images=images.permute(0, 3, 1, 2),  # channels last in memory, as it came from the decoder
            joints_camera_mm=torch.from_numpy(joints_camera_mm),
            joints_crop_px=torch.from_numpy(joints_crop_px),
            views=views,
            is_complete=self._is_complete,
            has_mm=self._has_mm,
        )
        if self.on_device is None:
            return batch
        return self.on_device.change_labels(replace(batch, changes=_drawn(self.on_device, rows, keys)))


def _drawn(augmentation: DeviceAugmentation, rows: NDArray[np.int64], keys: list[SampleKey]) -> torch.Tensor:
    """What is drawn for a batch, which may hold the end of one pass over the data and the start of the next."""
    parts, start = [], 0
    for number, same in itertools.groupby(key.epoch for key in keys):
        end = start + len(list(same))
        parts.append(augmentation.draw(number, rows[start:end]))
        start = end
    return torch.cat(parts)


class TrainingBatches(EpochBatches[list[SampleKey]]):
    """Shuffled batches of one source. An epoch is what `BatchOrder` says."""

    def __init__(
        self,
        images: PoseImages,
        batch_size: int,
        *,
        seed: int,
        workers: int,
        rank: int,
        world: int,
        pin_memory: bool,
        epoch_images: int | None = None,
        worker_timeout_s: int = WORKER_TIMEOUT_S,
    ) -> None:
        if len(images) < batch_size:
            raise DataError(
                f"{len(images)} training images are fewer than trainer.batch_size {batch_size}, which would give no "
                "step at all; take a smaller batch"
            )
        order = BatchOrder(
            len(images), batch_size, seed=seed, shuffle=True, rank=rank, world=world, epoch_images=epoch_images
        )
        super().__init__(images, order, workers, pin_memory, worker_timeout_s)


class EvaluationBatches(LoadedBatches[list[SampleKey]]):
    """Every sample of a table once, in order, over all processes together; fewer where `leave` says so meanwhile."""

    def __init__(
        self,
        images: PoseImages,
        batch_size: int,
        *,
        workers: int,
        rank: int,
        world: int,
        pin_memory: bool,
        worker_timeout_s: int = WORKER_TIMEOUT_S,
        leave: Callable[[], bool] = lambda: False,
    ) -> None:
        order = BatchOrder(len(images), batch_size * world, seed=0, shuffle=False, rank=rank, world=world)
        super().__init__(images, order, workers, pin_memory, worker_timeout_s)
        self._leave = leave

    def __iter__(self) -> Iterator[PoseBatch]:
        batches = cast(Iterator[PoseBatch], self.read(0, 0, []))
        return itertools.takewhile(lambda _: not self._leave(), batches)
