"""The heat map losses: what a softmax-normalised heat map is compared with, and how."""

from dataclasses import dataclass

from torch import Tensor

from integral_pose.contracts import AxisLogits
from integral_pose.heatmaps.marginals import GaussianMarginals, Marginals, jensen_shannon, planes_of_volume
from integral_pose.heatmaps.reference import HeatmapTarget, with_axis_logits
from integral_pose.heatmaps.volume import soft_argmax, soft_argmax_and_heatmap_loss


@dataclass(frozen=True)
class CubeCrossEntropy:
    """Binary cross-entropy with a Gaussian cube round the true voxel (Pantalos & Rudin 2019)."""

    target: HeatmapTarget

    def of_volume(
        self, logits: Tensor, true_norm: Tensor, axis_logits: AxisLogits | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, J, D, H, W) -> expected joints (B, J, 3) norm and the loss, from one read of the logits."""
        return soft_argmax_and_heatmap_loss(logits, true_norm, self.target, axis_logits=axis_logits)

    def of_marginals(self, marginals: Marginals, true_norm: Tensor) -> Tensor:
        """Raises ValueError: the target is a cube."""
        raise ValueError("loss.heatmap.name cross_entropy compares volumes; take jensen_shannon for planes and axes")


@dataclass(frozen=True)
class MarginalDivergence:
    """Jensen-Shannon divergence between the marginals of the heat map and of a Gaussian (Nibali et al. 2018)."""

    target: GaussianMarginals

    def of_volume(
        self, logits: Tensor, true_norm: Tensor, axis_logits: AxisLogits | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, J, D, H, W) -> expected joints (B, J, 3) norm and the divergence of the volume's planes."""
        planes = planes_of_volume(with_axis_logits(logits, axis_logits))
        return soft_argmax(logits, axis_logits=axis_logits), self.of_marginals(planes, true_norm)

    def of_marginals(self, marginals: Marginals, true_norm: Tensor) -> Tensor:
        """The mean over the three marginals, joints and batch: 0 to log 2."""
        return jensen_shannon(marginals, true_norm, self.target)
