"""A model over a whole data set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from integral_pose.contracts import CropViews, PoseBatch, PoseOutput, Predictions
from integral_pose.errors import DataError
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.geometry.lifting import mirror_views
from integral_pose.heatmaps.confidence import heatmap_confidence
from integral_pose.heatmaps.volume import soft_argmax
from integral_pose.models.crop_changes import UNCHANGED, CropChange, change_crop
from integral_pose.skeleton import HUMAN36M, Skeleton

# Takes this process's arrays and returns those of all processes, each joined along its first axis.
Gather = Callable[[list[NDArray]], list[NDArray]]
# Joints in the network's units and the views they were found in -> the views with the root's depth set.
PlaceRoot = Callable[[torch.Tensor, CropViews], CropViews]


@runtime_checkable
class CameraPoseModel(Protocol):
    """A module that predicts poses in millimetres from images."""

    def predict_camera_mm(self, images: torch.Tensor, views: CropViews | None = None) -> torch.Tensor:
        """(B, 3, H, W) uint8 RGB and, where known, their views -> (B, J, 3) mm in camera axes, root-relative."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Every module inside, itself too, as nn.Module has it."""
        ...


class HeatmapPoseModel(CameraPoseModel, Protocol):
    """One that can be asked for what lies between: what the network says, where that is, and what it means."""

    space: PoseSpace

    def __call__(self, images: torch.Tensor) -> PoseOutput:
        """(B, 3, H, W) RGB 0..255 -> heat maps or joints."""
        ...

    def locate(self, output: PoseOutput) -> torch.Tensor:
        """(B, J, 3) in the units of `space`."""
        ...


def predict(
    model: CameraPoseModel,
    loader: Iterable[PoseBatch],
    device: torch.device,
    *,
    flip: bool = False,
    crops: Sequence[CropChange] = (UNCHANGED,),
    place_root: PlaceRoot | None = None,
    confidence_radius_cells: float | None = None,
    gather: Gather | None = None,
    skeleton: Skeleton = HUMAN36M,
    disable_progress: bool = False,
) -> Predictions:
    """Poses of every sample the loader gives, sorted by row, each row once.

    The model is in evaluation mode meanwhile; afterwards each of its modules has the mode it had. `flip`, `crops`
    and `place_root` as in `predict_batch_camera_mm`. With `confidence_radius_cells` the predictions say how sure
    the heat maps of the unchanged crops are; DataError where the network makes none. In a run of several processes
    each loader gives its own share and `gather` joins them; rows that a sampler doubled to make the shares even are
    dropped.
    """
    indices, joints_mm, confidence = [], [], []
    with _evaluation_mode(model), torch.inference_mode():
        for batch in tqdm(loader, desc="predict", unit="batch", leave=False, disable=disable_progress):
            images, views = batch.images.to(device, non_blocking=True), batch.views
            if views is not None:
                views = views.map(lambda tensor: tensor.to(device, non_blocking=True))
            output = None
            if confidence_radius_cells is not None:
                output = cast(HeatmapPoseModel, model)(images)
                confidence.append(_confidence(output, confidence_radius_cells))
            found_mm = predict_batch_camera_mm(
                model, images, views, flip=flip, crops=crops, place_root=place_root, output=output, skeleton=skeleton
            )
            joints_mm.append(found_mm.float())
            indices.append(batch.indices)
    # Off the device at the end only: a copy a batch would make it wait for each.
    shares: list[NDArray] = [
        torch.cat(indices).cpu().numpy() if indices else np.empty(0, np.int64),
        torch.cat(joints_mm).cpu().numpy() if joints_mm else np.empty((0, skeleton.num_joints, 3), np.float32),
    ]
    if confidence_radius_cells is not None:
        empty = np.empty((0, skeleton.num_joints, 2), np.float32)
        shares.append(torch.cat(confidence).cpu().numpy() if confidence else empty)
    all_indices, all_joints_mm, *all_confidence = gather(shares) if gather else shares
    rows, first = np.unique(all_indices, return_index=True)
    return Predictions(
        indices=rows.astype(np.int64),
        joints_camera_mm=all_joints_mm[first],
        confidence=all_confidence[0][first] if all_confidence else None,
    )


def predict_batch_camera_mm(
    model: CameraPoseModel,
    images: torch.Tensor,
    views: CropViews | None = None,
    *,
    flip: bool = False,
    crops: Sequence[CropChange] = (UNCHANGED,),
    place_root: PlaceRoot | None = None,
    output: PoseOutput | None = None,
    skeleton: Skeleton = HUMAN36M,
) -> torch.Tensor:
    """(B, J, 3) mm of one batch (B, 3, H, W): the mean over `crops`, with `flip` over their mirror images too.

    Mirroring a picture negates x and swaps left with right, exactly, since the crop's middle is its centre.
    `place_root` puts each view's root where the joints found in it say. `output` is what the network said of the
    unchanged images, where that is known already.
    """
    found_mm = []
    for change in crops:
        changed, changed_views = change_crop(images, views, change)
        known = output if change == UNCHANGED else None
        poses_mm = [_predict_camera_mm(model, changed, changed_views, place_root, known)]
        if flip:
            mirrored_views = None if changed_views is None else mirror_views(changed_views, images.shape[-1])
            mirrored_mm = _predict_camera_mm(model, changed.flip(-1), mirrored_views, place_root, None)
            mirrored_mm = mirrored_mm[:, list(skeleton.flip_order)]
            poses_mm.append(mirrored_mm * mirrored_mm.new_tensor([-1.0, 1.0, 1.0]))
        if change.depth_scale != 1:
            poses_mm = [pose_mm / pose_mm.new_tensor([1.0, 1.0, change.depth_scale]) for pose_mm in poses_mm]
        found_mm += poses_mm
    return functools.reduce(torch.add, found_mm) / len(found_mm)


def _predict_camera_mm(
    model: CameraPoseModel,
    images: torch.Tensor,
    views: CropViews | None,
    place_root: PlaceRoot | None,
    output: PoseOutput | None,
) -> torch.Tensor:
    if place_root is None and output is None:
        return model.predict_camera_mm(images, views)
    steps = cast(HeatmapPoseModel, model)
    joints = steps.locate(steps(images) if output is None else output)
    if place_root is not None and views is not None:
        views = place_root(joints, views)
    return steps.space.decode(joints, views)


def _confidence(output: PoseOutput, radius_cells: float) -> torch.Tensor:
    """(B, J, 2): mass and entropy of the heat maps. Raises DataError where there are none."""
    if output.logits is None:
        raise DataError(
            "confidence is read off volumetric heat maps, and this network says the joints without any; set "
            "evaluation.confidence to false"
        )
    joints_norm = soft_argmax(output.logits).float()  # by centred cells, whatever cells the network means
    return torch.stack(heatmap_confidence(output.logits, joints_norm, radius_cells), -1)


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
