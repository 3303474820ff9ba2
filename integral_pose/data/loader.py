"""Samples -> batches, made by worker processes in the order of `batch_order`."""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from integral_pose.contracts import PoseBatch, PoseSample, SampleKey
from integral_pose.data.augmentation import Augmentation
from integral_pose.data.batch_order import BatchOrder
from integral_pose.data.course import PoseTable
from integral_pose.data.device_augmentation import DeviceAugmentation
from integral_pose.data.workers import PatientLoader, start_worker, watched
from integral_pose.errors import DataError, IntegralPoseError
from integral_pose.geometry.lifting import move_views
from integral_pose.io.images import decode_crop, decode_crop_scaled
from integral_pose.io.notices import notify

MOST_BAD_IN_A_ROW = 100  # then it is not the images
MOST_FAULTS_SHOWN = 20
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
        self._images, self._is_complete = table.images, table.is_complete

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

    def read(self, rows: Iterable[int]) -> PoseBatch:
        """Some rows as the first epoch has them. Raises the error of an image that has none to take its place."""
        batch = self.__getitems__([SampleKey(0, row) for row in rows])
        if isinstance(batch, IntegralPoseError):
            raise batch
        return batch.batch if isinstance(batch, ReplacedBatch) else batch

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


@dataclass
class ReplacedBatch:
    """A batch in which other images took the places of some, and what was wrong with these."""

    batch: PoseBatch
    faults: list[str]

    def pin_memory(self) -> ReplacedBatch:
        """The same in page-locked memory. Called by the data loader."""
        return ReplacedBatch(self.batch.pin_memory(), self.faults)


class _Batches:
    """The batches of an order, made by worker processes."""

    def __init__(self, images: PoseImages, order: BatchOrder, workers: int, pin_memory: bool, timeout_s: int) -> None:
        self.order, self._images = order, images
        self._loader = PatientLoader(
            images,
            batch_sampler=order,
            collate_fn=_as_is,
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

    def read(self, epoch: int, first_batch: int, faults: list[str]) -> Iterator[PoseBatch]:
        """An epoch from a batch on; what was wrong with replaced images is added to `faults`.

        Raises DataError for an image that cannot be read, WorkerError where a worker is lost or hangs.
        """
        self.order.epoch, self.order.first_batch = epoch, first_batch
        given = 0

        def next_images() -> str:
            self.order.first_batch = first_batch + given
            return ", ".join(self._images.table.name(key.row) for key in next(iter(self.order), []))

        for batch in watched(self._loader, next_images):
            given += 1
            if isinstance(batch, IntegralPoseError):
                raise batch
            if isinstance(batch, ReplacedBatch):
                faults += batch.faults
                batch = batch.batch
            yield batch

    def again(self, epoch: int, number: int) -> PoseBatch:
        """Batch `number` of an epoch, made by this process; what `epoch` gives meanwhile stays as it is."""
        order = copy.copy(self.order)
        order.epoch, order.first_batch = epoch, number
        made = self._images.__getitems__(next(iter(order)))
        if isinstance(made, IntegralPoseError):
            raise made
        return made.batch if isinstance(made, ReplacedBatch) else made


class TrainingBatches(_Batches):
    """Shuffled batches for the trainer, epoch by epoch, from any batch on. An epoch is what `BatchOrder` says."""

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

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[PoseBatch]:
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
        return self._images.table.name(row)


class EvaluationBatches(_Batches):
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
        return itertools.takewhile(lambda _: not self._leave(), self.read(0, 0, []))


def _as_is(batch: Any) -> Any:
    return batch
