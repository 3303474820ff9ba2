"""A model over a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from integral_pose.contracts import CropViews, PoseBatch, Predictions
from integral_pose.geometry.lifting import mirror_views
from integral_pose.skeleton import HUMAN36M, Skeleton

# Takes this process's arrays and returns those of all processes, each joined along its first axis.
Gather = Callable[[list[NDArray]], list[NDArray]]


@runtime_checkable
class CameraPoseModel(Protocol):
    """A module that predicts poses in millimetres from images."""

    def predict_camera_mm(self, images: torch.Tensor, views: CropViews | None = None) -> torch.Tensor:
        """(B, 3, H, W) uint8 RGB and, where known, their views -> (B, J, 3) mm in camera axes, root-relative."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Every module inside, itself too, as nn.Module has it."""
        ...


def predict(
    model: CameraPoseModel,
    loader: Iterable[PoseBatch],
    device: torch.device,
    *,
    flip: bool = False,
    gather: Gather | None = None,
    skeleton: Skeleton = HUMAN36M,
    disable_progress: bool = False,
) -> Predictions:
    """Poses of every sample the loader gives, sorted by row, each row once.

    The model is in evaluation mode meanwhile; afterwards each of its modules has the mode it had. `flip`
    averages with the poses of the mirrored images. In a run of several processes each loader gives its own
    share and `gather` joins them; rows that a sampler doubled to make the shares even are dropped.
    """
    indices, joints_mm = [], []
    with _evaluation_mode(model), torch.inference_mode():
        for batch in tqdm(loader, desc="predict", unit="batch", leave=False, disable=disable_progress):
            images, views = batch.images.to(device, non_blocking=True), batch.views
            if views is not None:
                views = views.map(lambda tensor: tensor.to(device, non_blocking=True))
            found_mm = predict_batch_camera_mm(model, images, views, flip=flip, skeleton=skeleton)
            joints_mm.append(found_mm.float())
            indices.append(batch.indices)
    # Off the device at the end only: a copy a batch would make it wait for each.
    shares: list[NDArray] = [
        torch.cat(indices).cpu().numpy() if indices else np.empty(0, np.int64),
        torch.cat(joints_mm).cpu().numpy() if joints_mm else np.empty((0, skeleton.num_joints, 3), np.float32),
    ]
    all_indices, all_joints_mm = gather(shares) if gather else shares
    rows, first = np.unique(all_indices, return_index=True)
    return Predictions(indices=rows.astype(np.int64), joints_camera_mm=all_joints_mm[first])


def predict_batch_camera_mm(
    model: CameraPoseModel,
    images: torch.Tensor,
    views: CropViews | None = None,
    *,
    flip: bool = False,
    skeleton: Skeleton = HUMAN36M,
) -> torch.Tensor:
    """(B, J, 3) mm of one batch (B, 3, H, W); with `flip` the mean over the images and their mirror images.

    Mirroring a picture negates x and swaps left with right, exactly, since the crop's middle is its centre.
    """
    joints_mm = model.predict_camera_mm(images, views)
    if not flip:
        return joints_mm
    mirrored_views = None if views is None else mirror_views(views, images.shape[-1])
    mirrored_mm = model.predict_camera_mm(images.flip(-1), mirrored_views)[:, list(skeleton.flip_order)]
    return (joints_mm + mirrored_mm * mirrored_mm.new_tensor([-1.0, 1.0, 1.0])) / 2


@contextmanager
def _evaluation_mode(model: CameraPoseModel) -> Iterator[None]:
    """Evaluation mode for the block; per module, since a trainer may keep some of them frozen in it."""
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
