"""Weighted sums of named loss terms on the output of a network."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, cast

from torch import Tensor

from integral_pose.config.loss_section import HeatmapConfig, LossConfig
from integral_pose.contracts import HeatmapLoss, LossResult, NetworkOutput, PoseBatch
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.heatmaps.heatmap_loss import CubeCrossEntropy, MarginalDivergence
from integral_pose.heatmaps.marginals import GaussianMarginals
from integral_pose.heatmaps.outputs import VolumeLogits
from integral_pose.heatmaps.reference import HeatmapTarget
from integral_pose.heatmaps.sampling import draw_joints
from integral_pose.heatmaps.uncertain_output import scale_of
from integral_pose.heatmaps.variance import VarianceLoss
from integral_pose.losses.coordinate_losses import JOINT_LOSSES
from integral_pose.losses.labels import AllLabelled, JointLoss, Labels, SomeLabelled
from integral_pose.losses.residual_likelihood import ResidualLikelihood
from integral_pose.losses.scaled_distance import beta_nll

PEAKS = {"equation": 1 / math.sqrt(2 * math.pi), "prose": 1.0}

# The output, its joints (B, J, 3) in the units of the pose space, and the true ones -> a scalar.
OutputLoss = Callable[[NetworkOutput, Tensor, Labels], Tensor]


class LossWeights(NamedTuple):
    """Weights of the terms; a term of weight 0 is not computed."""

    integral: float
    heatmap: float
    variance: float = 0.0


@dataclass(frozen=True)
class Criterion:
    """integral: joint loss on the coordinates; heatmap: the heat map loss; variance: how broad heat maps are.

    Labels are converted by `space`.
    """

    space: PoseSpace
    joint_loss: OutputLoss
    heatmap_loss: HeatmapLoss
    variance_loss: VarianceLoss

    def __call__(self, output: NetworkOutput, batch: PoseBatch, weights: LossWeights) -> LossResult:
        """The loss of a batch, of what is labelled in it; terms that are off are not in `terms`."""
        true = self.space.encode(batch.joints_camera_mm, batch.joints_crop_px)
        labels: Labels = AllLabelled(true) if batch.is_complete else SomeLabelled(true)
        terms: dict[str, Tensor] = {}
        if weights.heatmap > 0:  # both terms from one read of the logits
            joints, mean_of_all = output.joints_and_heatmap_loss(true, self.heatmap_loss)
            terms["heatmap"] = labels.mean_of_heatmaps(mean_of_all)
        else:
            joints = output.joints()
        if weights.integral > 0:
            terms["integral"] = self.joint_loss(output, joints, labels)
        if weights.variance > 0:
            terms["variance"] = self.variance_loss(output)
        used = {name: weight for name, weight in weights._asdict().items() if weight > 0}
        total = sum((weight * terms[name] for name, weight in used.items()), joints.new_zeros(()))
        return LossResult(total, {name: terms[name].detach() for name in used}, joints.detach())


def build_criterion(
    loss: LossConfig, space: PoseSpace, log_density: Callable[[Tensor], Tensor] | None = None
) -> Criterion:
    """The loss of an experiment; the weights of its stages are given with each batch.

    `log_density` is that of the network's flow, which `rle` alone needs.
    """
    heatmap_loss = HEATMAP_LOSSES[loss.heatmap.name](loss.heatmap)
    joint_loss = build_joint_loss(loss, space, log_density)
    return Criterion(space, joint_loss, heatmap_loss, VarianceLoss(loss.variance_sigma_cells))


def build_joint_loss(
    loss: LossConfig, space: PoseSpace, log_density: Callable[[Tensor], Tensor] | None = None
) -> OutputLoss:
    """Of coordinates alone, of coordinates and the predicted scale, or of a place drawn from the heat map."""
    if loss.joints == "rle":
        if log_density is None:
            raise ValueError("loss.joints 'rle' needs a network with a flow: set model.uncertainty to flow")
        likelihood = ResidualLikelihood(log_density, space.root)
        return lambda output, joints, labels: labels.loss(_scaled(likelihood, output), joints)
    if loss.joints == "beta_nll":
        return lambda output, joints, labels: labels.loss(_scaled(beta_nll, output), joints)
    plain = JOINT_LOSSES[loss.joints]
    if loss.sampled:
        return lambda output, joints, labels: labels.loss(plain, draw_joints(cast(VolumeLogits, output)))
    return lambda output, joints, labels: labels.loss(plain, joints)


def _scaled(loss: Callable[[Tensor, Tensor, Tensor, str], Tensor], output: NetworkOutput) -> JointLoss:
    """A loss with the scale that the network predicts."""
    return lambda predicted, true, reduction: loss(predicted, true, scale_of(output), reduction)


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
