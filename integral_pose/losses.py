"""Weighted sums of named loss terms on the output of a network."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from integral_pose.config.schema import HeatmapConfig, LossConfig
from integral_pose.contracts import HeatmapLoss, LossResult, NetworkOutput, PoseBatch
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.heatmaps.heatmap_loss import CubeCrossEntropy, MarginalDivergence
from integral_pose.heatmaps.marginals import GaussianMarginals
from integral_pose.heatmaps.reference import HeatmapTarget

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


class LossWeights(NamedTuple):
    """Weights of the two terms; a term of weight 0 is not computed."""

    integral: float
    heatmap: float


@dataclass(frozen=True)
class Criterion:
    """integral: joint loss on the coordinates; heatmap: the heat map loss. Labels are converted by `space`."""

    space: PoseSpace
    joint_loss: JointLoss
    heatmap_loss: HeatmapLoss

    def __call__(self, output: NetworkOutput, batch: PoseBatch, weights: LossWeights) -> LossResult:
        """The loss of a batch whose labels are finite; terms that are off are not in `terms`."""
        true = self.space.encode(batch.joints_camera_mm, batch.joints_crop_px)
        terms: dict[str, Tensor] = {}
        if weights.heatmap > 0:  # both terms from one read of the logits
            joints, terms["heatmap"] = output.joints_and_heatmap_loss(true, self.heatmap_loss)
        else:
            joints = output.joints()
        if weights.integral > 0:
            terms["integral"] = self.joint_loss(joints, true)
        used = {name: weight for name, weight in weights._asdict().items() if weight > 0}
        total = sum((weight * terms[name] for name, weight in used.items()), joints.new_zeros(()))
        return LossResult(total, {name: terms[name].detach() for name in used}, joints.detach())


def build_criterion(loss: LossConfig, space: PoseSpace) -> Criterion:
    """The loss of an experiment; the weights of its stages are given with each batch."""
    return Criterion(space, JOINT_LOSSES[loss.joints], HEATMAP_LOSSES[loss.heatmap.name](loss.heatmap))


def build_cross_entropy(heatmap: HeatmapConfig) -> CubeCrossEntropy:
    """Against a Gaussian cube or the joint's cell alone."""
    if heatmap.target == "one_hot":
        return CubeCrossEntropy(HeatmapTarget(peak=1.0, radius=0, reduction=heatmap.reduction))
    return CubeCrossEntropy(HeatmapTarget(PEAKS[heatmap.peak], heatmap.radius, heatmap.reduction))


def build_divergence(heatmap: HeatmapConfig) -> MarginalDivergence:
    """Against the marginals of a Gaussian."""
    return MarginalDivergence(GaussianMarginals(heatmap.sigma_cells))


HEATMAP_LOSSES: dict[str, Callable[[HeatmapConfig], HeatmapLoss]] = {
    "cross_entropy": build_cross_entropy,
    "jensen_shannon": build_divergence,
}
