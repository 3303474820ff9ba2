"""The loss of images that are labelled in px alone, in joints of their own (2D data sets).

Each label is a weighted sum of joints that the network predicts: a matrix (K, J) of rows that sum to 1, or are 0 where
a label is not learnt from. A label outside of the crop, where augmentation may have moved it, is not learnt from
either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from integral_pose.config.loss_section import LossConfig
from integral_pose.contracts import HeatmapLoss, LossResult, NetworkOutput, PoseBatch
from integral_pose.geometry.constants_on_device import joints_in_order, vector_like
from integral_pose.geometry.coordinates import ImageVolume, PoseSpace, crop_px_to_norm
from integral_pose.geometry.flat_alignment import align_flat
from integral_pose.geometry.lifting import crop_px_in_label_axes
from integral_pose.losses.coordinate_losses import JOINT_LOSSES, l1
from integral_pose.losses.criterion import HEATMAP_LOSSES, LossWeights
from integral_pose.losses.labels import JointLoss, SomeLabelled


class Plane(Protocol):
    """Where predicted joints meet labels in px; units are the crop's side."""

    def compared(self, joints: Tensor, labels_norm: Tensor, batch: PoseBatch) -> tuple[Tensor, Tensor]:
        """Predictions (B, K, 3) in the units of the pose space, labels (B, K, 2) norm of the crop -> (B, K, 2) each."""
        ...


@dataclass(frozen=True)
class CropPlane:
    """The image volume: x and y are the crop's."""

    def compared(self, joints: Tensor, labels_norm: Tensor, batch: PoseBatch) -> tuple[Tensor, Tensor]:
        """As they are."""
        return joints[..., :2], labels_norm


@dataclass(frozen=True)
class AlignedPlane:
    """Networks that predict mm: the label says neither scale nor place, so the prediction is given both (`align_flat`).

    Labels in mm turn and are mirrored with the picture, but are not scaled; so these are compared.
    """

    stored_px: int  # side of the crops on disk, whose px `views` lead back to

    def compared(self, joints: Tensor, labels_norm: Tensor, batch: PoseBatch) -> tuple[Tensor, Tensor]:
        """The prediction laid over the label, in sides of the crop on disk."""
        assert batch.views is not None, "images that are labelled in px alone come with views"
        crop_px = labels_norm * vector_like(labels_norm, batch.images.shape[:1:-1])
        true = crop_px_in_label_axes(crop_px, batch.views) / self.stored_px
        return align_flat(joints[..., :2], true), true


@dataclass(frozen=True)
class FlatCriterion:
    """integral: joint loss on weighted sums of coordinates; heatmap: of single joints, on heat maps summed over z."""

    matrix: Tensor  # (K, J)
    single_joints: Sequence[tuple[int, int]]  # (label, joint) of the rows that are one joint
    plane: Plane
    joint_loss: JointLoss
    heatmap_loss: HeatmapLoss | None  # None: a label in px has no place in the volume

    def __call__(self, output: NetworkOutput, batch: PoseBatch, weights: LossWeights) -> LossResult:
        """The loss of a batch; each term is 0 where nothing is labelled."""
        joints, labels_norm = output.joints(), self._labels_norm(batch)
        terms: dict[str, Tensor] = {}
        if weights.integral > 0:
            summed = (self.matrix[:, :, None] * joints[:, None]).sum(2)  # no matmul, which may round
            predicted, true = self.plane.compared(summed, labels_norm, batch)
            terms["integral"] = SomeLabelled(true).loss(self.joint_loss, predicted)
        if weights.heatmap > 0 and self.heatmap_loss is not None:
            terms["heatmap"] = self._heatmap_loss(output, labels_norm, self.heatmap_loss)
        total = sum((getattr(weights, name) * term for name, term in terms.items()), joints.new_zeros(()))
        return LossResult(total, {name: term.detach() for name, term in terms.items()}, joints.detach())

    def _labels_norm(self, batch: PoseBatch) -> Tensor:
        """(B, K, 2) NaN where nothing is to be learnt."""
        height_px, width_px = batch.images.shape[-2:]
        x_px, y_px = batch.joints_crop_px.unbind(-1)
        norm = torch.stack([crop_px_to_norm(x_px, width_px), crop_px_to_norm(y_px, height_px)], -1)
        learnt = (norm.abs() <= 0.5).all(-1) & self.matrix.any(1)
        return torch.where(learnt[..., None], norm, torch.nan)

    def _heatmap_loss(self, output: NetworkOutput, labels_norm: Tensor, loss: HeatmapLoss) -> Tensor:
        if not self.single_joints:
            return labels_norm.new_zeros(())
        labels, joints = zip(*self.single_joints, strict=True)
        flat, flat_norm = joints_in_order(output.flat_logits(), joints), joints_in_order(labels_norm, labels)
        true = torch.cat([flat_norm, 0 * flat_norm[..., :1]], -1)  # z: the middle of the only cell; NaN stays NaN
        return SomeLabelled(true).mean_of_heatmaps(loss.of_volume(flat, true)[1])


def build_flat_criterion(
    loss: LossConfig, space: PoseSpace, matrix: NDArray[np.float32], stored_px: int, device: torch.device
) -> FlatCriterion:
    """Of a set whose labels are `matrix` (K, J) times the network's joints; losses that need a scale become `l1`."""
    joint_loss = JOINT_LOSSES.get(loss.joints, l1)
    is_single = (matrix == 1) & (np.count_nonzero(matrix, axis=1) == 1)[:, None]
    single = [(int(label), int(joint)) for label, joint in np.argwhere(is_single)]
    on_device = torch.from_numpy(matrix).to(device)
    if isinstance(space, ImageVolume):
        heatmap_loss = HEATMAP_LOSSES[loss.heatmap.name](loss.heatmap)
        return FlatCriterion(on_device, single, CropPlane(), joint_loss, heatmap_loss)
    return FlatCriterion(on_device, single, AlignedPlane(stored_px), joint_loss, None)
