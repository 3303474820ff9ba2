"""Weighted sums of named loss terms on what a network predicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from integral_pose.config.schema import HeatmapConfig, LossConfig, WeightsConfig
from integral_pose.contracts import LossResult, PoseBatch, PoseOutput
from integral_pose.geometry.coordinates import ImageVolume, PoseSpace
from integral_pose.heatmaps.debias import without_background
from integral_pose.heatmaps.decode import locate
from integral_pose.heatmaps.marginals import GaussianMarginals, jensen_shannon, planes_of_volume
from integral_pose.heatmaps.volume import HeatmapTarget, soft_argmax_and_heatmap_loss

JointLoss = Callable[[Tensor, Tensor], Tensor]


def l1(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean absolute difference over batch, joints and axes, in the units of the input (Sun et al. 2018)."""
    return (predicted - true).abs().mean()


def smooth_l1(predicted: Tensor, true: Tensor) -> Tensor:
    """Quadratic below SMOOTH_BELOW, like `l1` less half of it above (Huber); the same slope as `l1` far away."""
    return functional.smooth_l1_loss(predicted, true, beta=SMOOTH_BELOW)


def l2(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared difference over batch, joints and axes."""
    return functional.mse_loss(predicted, true)


def euclidean(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean distance over batch and joints: the MPJPE in the units of the input, whose slope is 0 at the truth."""
    return torch.linalg.vector_norm(predicted - true, dim=-1).mean()


SMOOTH_BELOW = 0.01  # norm: 22 mm in a volume of 2.2 m
JOINT_LOSSES: dict[str, JointLoss] = {"l1": l1, "smooth_l1": smooth_l1, "l2": l2, "euclidean": euclidean}
PEAKS = {"equation": 1 / math.sqrt(2 * math.pi), "prose": 1.0}


@dataclass(frozen=True)
class PoseLoss:
    """integral: joint loss on the coordinates; heatmap: what the target says. Weight 0 is not computed.

    A HeatmapTarget is the cross-entropy on the volume, which comes with the coordinates from one read of the logits;
    GaussianMarginals are the divergence on the marginals, of a volume its three planes. `debiased` is how the network
    reads volumes. Labels are converted from mm by `space`.
    """

    space: PoseSpace
    joint_loss: JointLoss
    target: HeatmapTarget | GaussianMarginals
    integral_weight: float
    heatmap_weight: float
    debiased: bool = False

    def __call__(self, output: PoseOutput, batch: PoseBatch) -> LossResult:
        """The loss of a batch whose labels are finite; terms that are off are not in `terms`."""
        true = self.space.encode(batch.joints_camera_mm, batch.joints_crop_px)
        joints, heatmap = self._read(output, true)
        terms: dict[str, Tensor] = {}
        total = joints.new_zeros(())
        if self.integral_weight > 0:
            terms["integral"] = self.joint_loss(joints, true)
            total = total + self.integral_weight * terms["integral"]
        if heatmap is not None:
            terms["heatmap"] = heatmap
            total = total + self.heatmap_weight * heatmap
        distance_mm = (self._decode(joints.detach(), batch) - batch.joints_camera_mm).norm(dim=-1)
        return LossResult(total, {name: term.detach() for name, term in terms.items()}, distance_mm.mean())

    def _decode(self, joints: Tensor, batch: PoseBatch) -> Tensor:
        if batch.views is None and isinstance(self.space, ImageVolume):
            return self.space.decode_by_labels(joints, batch.joints_camera_mm, batch.joints_crop_px)
        return self.space.decode(joints, batch.views)

    def _read(self, output: PoseOutput, true: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.heatmap_weight == 0 or output.joints is not None:
            return locate(output, debiased=self.debiased), None
        if isinstance(self.target, GaussianMarginals):
            joints = locate(output, debiased=self.debiased)
            marginals = planes_of_volume(output.logits) if output.logits is not None else output.marginals
            assert marginals is not None, "a network gives one of the three"
            return joints, jensen_shannon(marginals, true, self.target)
        if output.logits is None:
            raise ValueError("the cross-entropy is on volumes, and the network's output has no logits")
        joints, heatmap = soft_argmax_and_heatmap_loss(output.logits, true, self.target)
        return (without_background(joints, output.logits) if self.debiased else joints), heatmap


def build_loss(weights: WeightsConfig, loss: LossConfig, space: PoseSpace, *, debiased: bool = False) -> PoseLoss:
    """The loss of one stage; `debiased` as the network has it."""
    return PoseLoss(
        space=space,
        joint_loss=JOINT_LOSSES[loss.joints],
        target=build_heatmap_target(loss.heatmap),
        integral_weight=weights.integral,
        heatmap_weight=weights.heatmap,
        debiased=debiased,
    )


def build_heatmap_target(heatmap: HeatmapConfig) -> HeatmapTarget | GaussianMarginals:
    """What the heat maps are compared with, and thereby how."""
    if heatmap.name == "jensen_shannon":
        return GaussianMarginals(heatmap.sigma_cells)
    if heatmap.target == "one_hot":
        return HeatmapTarget(peak=1.0, radius=0, reduction=heatmap.reduction)
    return HeatmapTarget(peak=PEAKS[heatmap.peak], radius=heatmap.radius, reduction=heatmap.reduction)
