"""A network's output together with how far off it expects each joint to be."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from integral_pose.contracts import HeatmapLoss, NetworkOutput


class UncertainOutput(NamedTuple):
    """`output` is one of the three of `heatmaps.outputs`, whose methods are handed through."""

    output: NetworkOutput
    scale: Tensor  # (B, J, 1 or 3) above 0, in the units of the joints; what the loss is of
    deviation: Tensor  # (B, J, 3) standard deviation along each axis, in the units of the joints

    def joints(self) -> Tensor:
        """(B, J, 3) in the units of the network's pose space."""
        return self.output.joints()

    def joints_and_heatmap_loss(self, true_norm: Tensor, loss: HeatmapLoss) -> tuple[Tensor, Tensor]:
        """As of the output within."""
        return self.output.joints_and_heatmap_loss(true_norm, loss)

    def confidence(self, radius_cells: float) -> Tensor | None:
        """As of the output within."""
        return self.output.confidence(radius_cells)

    def probabilities(self, sample: int, joint: int) -> dict[str, Tensor]:
        """As of the output within."""
        return self.output.probabilities(sample, joint)

    def tensors(self) -> dict[str, Tensor]:
        """The network's numbers by name, (B, J, ...) each."""
        return {**self.output.tensors(), "scale": self.scale}

    def split(self, lengths: Sequence[int]) -> "list[UncertainOutput]":
        """Of consecutive samples, so many each."""
        scales = zip(self.scale.split(list(lengths)), self.deviation.split(list(lengths)), strict=True)
        return [UncertainOutput(own, *each) for own, each in zip(self.output.split(lengths), scales, strict=True)]

    def flat_logits(self) -> Tensor:
        """As of the output within."""
        return self.output.flat_logits()


def deviation_of(output: NetworkOutput) -> Tensor | None:
    """(B, J, 3) standard deviations in the units of the joints; None where the network does not predict them."""
    return output.deviation if isinstance(output, UncertainOutput) else None


def scale_of(output: NetworkOutput) -> Tensor:
    """(B, J, 1 or 3). Raises ValueError where the network does not predict it."""
    if not isinstance(output, UncertainOutput):
        raise ValueError("this loss needs a network that predicts the scale of its errors: set model.uncertainty")
    return output.scale
