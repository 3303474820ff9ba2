"""The three kinds of network output. Each knows where its joints are and what a heat map loss makes of it.

They are named tuples, which `torch.compile`, `torch.export` and DistributedDataParallel hand through.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from integral_pose.contracts import AxisLogits, HeatmapLoss
from integral_pose.geometry.coordinates import centred_to_edge_norm
from integral_pose.heatmaps.confidence import heatmap_confidence
from integral_pose.heatmaps.debias import without_background
from integral_pose.heatmaps.marginals import Marginals, axes_of, marginal_soft_argmax, planes_of_volume
from integral_pose.heatmaps.reference import at_least_float32, log_probability, with_axis_logits
from integral_pose.heatmaps.volume import soft_argmax


class VolumeLogits(NamedTuple):
    """One heat map a joint over the whole volume."""

    logits: Tensor  # (B, J, D, H, W) before the softmax, any memory layout
    debiased: bool = False  # the background is taken out of the expectation (`heatmaps.debias`)
    edge_cells: bool = False  # imported weights: cell i of n lies at i / n of its axis, not at (i + 0.5) / n
    axis_logits: AxisLogits | None = None  # belong to the logits: the heat map is the softmax of the sum

    def joints(self) -> Tensor:
        """(B, J, 3) norm, float32 at least."""
        return self._decoded(soft_argmax(self.logits, axis_logits=self.axis_logits))

    def joints_and_heatmap_loss(self, true_norm: Tensor, loss: HeatmapLoss) -> tuple[Tensor, Tensor]:
        """`joints()` and the loss against the true joints (B, J, 3) norm."""
        joints_norm, value = loss.of_volume(self.logits, true_norm, self.axis_logits)
        return self._decoded(joints_norm), value

    def confidence(self, radius_cells: float) -> Tensor:
        """(B, J, 2): mass near the joint and entropy of each heat map; see `heatmaps.confidence`."""
        # By centred cells, whatever cells the network means: the mass lies where the heat map has it.
        logits = self.summed()
        return torch.stack(heatmap_confidence(logits, soft_argmax(logits).float(), radius_cells), -1)

    def summed(self) -> Tensor:
        """(B, J, D, H, W) logits with the axis logits in them: a second volume where there are any."""
        return with_axis_logits(self.logits, self.axis_logits)

    def probabilities(self, sample: int, joint: int) -> dict[str, Tensor]:
        """One joint's marginals over planes: 'yx' (H, W), 'zy' (D, H), 'zx' (D, W)."""
        own = self.summed()[sample : sample + 1, joint : joint + 1]
        return MarginalLogits(planes_of_volume(own)).probabilities(0, 0)

    def tensors(self) -> dict[str, Tensor]:
        """The network's numbers by name, (B, J, ...) each."""
        return {"logits": self.logits, **({} if self.axis_logits is None else self.axis_logits._asdict())}

    def split(self, lengths: Sequence[int]) -> "list[VolumeLogits]":
        """Of consecutive samples, so many each."""
        own = self.logits.split(list(lengths))
        if self.axis_logits is None:
            return [self._replace(logits=logits) for logits in own]
        terms = zip(*(along.split(list(lengths)) for along in self.axis_logits), strict=True)
        return [
            self._replace(logits=logits, axis_logits=AxisLogits(*axes)) for logits, axes in zip(own, terms, strict=True)
        ]

    def flat_logits(self) -> Tensor:
        """(B, J, 1, H, W), whose softmax is the heat map summed over z."""
        return at_least_float32(self.summed()).logsumexp(-3, keepdim=True)

    def _decoded(self, joints_norm: Tensor) -> Tensor:
        if self.debiased:
            joints_norm = without_background(joints_norm, self.summed())
        return centred_to_edge_norm(joints_norm, self.logits.shape[2:]) if self.edge_cells else joints_norm


class MarginalLogits(NamedTuple):
    """Three heat maps a joint, sums of a volume over one axis (planes) or two (axes); see `heatmaps.marginals`."""

    marginals: Marginals  # before the softmax: planes yx, zy, zx or axes x, y, z

    def joints(self) -> Tensor:
        """(B, J, 3) norm, float32 at least."""
        return marginal_soft_argmax(self.marginals)

    def joints_and_heatmap_loss(self, true_norm: Tensor, loss: HeatmapLoss) -> tuple[Tensor, Tensor]:
        """`joints()` and the loss against the true joints (B, J, 3) norm."""
        return self.joints(), loss.of_marginals(self.marginals, true_norm)

    def confidence(self, radius_cells: float) -> None:
        """None: mass near the joint is not defined for sums of a volume."""

    def probabilities(self, sample: int, joint: int) -> dict[str, Tensor]:
        """One joint's marginals by their axes."""
        return {
            axes: log_probability(logits[sample : sample + 1, joint : joint + 1])[0, 0].exp()
            for axes, logits in zip(axes_of(self.marginals), self.marginals, strict=True)
        }

    def tensors(self) -> dict[str, Tensor]:
        """The network's numbers by axes, (B, J, ...) each."""
        return dict(zip(axes_of(self.marginals), self.marginals, strict=True))

    def split(self, lengths: Sequence[int]) -> "list[MarginalLogits]":
        """Of consecutive samples, so many each."""
        return [
            MarginalLogits(own) for own in zip(*(each.split(list(lengths)) for each in self.marginals), strict=True)
        ]

    def flat_logits(self) -> Tensor:
        """(B, J, 1, H, W): the plane yx, or the product of the axes x and y."""
        own = self.tensors()
        plane = own["yx"] if "yx" in own else own["y"][..., :, None] + own["x"][..., None, :]
        return at_least_float32(plane)[:, :, None]


class Coordinates(NamedTuple):
    """Joints predicted directly, without heat maps."""

    coordinates: Tensor  # (B, J, 3) in the units of the network's pose space

    def joints(self) -> Tensor:
        """The coordinates, float32 at least."""
        return at_least_float32(self.coordinates)

    def joints_and_heatmap_loss(self, true_norm: Tensor, loss: HeatmapLoss) -> tuple[Tensor, Tensor]:
        """Raises ValueError: there is no heat map to compare."""
        raise ValueError("a network that predicts coordinates has no heat maps; set the heat map loss's weight to 0")

    def confidence(self, radius_cells: float) -> None:
        """None: there is no heat map."""

    def probabilities(self, sample: int, joint: int) -> dict[str, Tensor]:
        """None of them."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """The network's numbers by name."""
        return {"coordinates": self.coordinates}

    def split(self, lengths: Sequence[int]) -> "list[Coordinates]":
        """Of consecutive samples, so many each."""
        return [Coordinates(own) for own in self.coordinates.split(list(lengths))]

    def flat_logits(self) -> Tensor:
        """Raises ValueError: there is no heat map."""
        raise ValueError("a network that predicts coordinates has no heat maps; set the heat map loss's weight to 0")
