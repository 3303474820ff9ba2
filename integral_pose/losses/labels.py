"""The true joints of a batch, of which some may lack their label, and means over those that have it.

A coordinate without a label is NaN. It is replaced before anything is computed with it, and what is computed there is
chosen away, never multiplied by 0: NaN times 0 is NaN, in the value and in the gradient. Where nothing is labelled, the
mean is 0 and so is its gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# Predicted and true (B, J, 3), and 'mean' or 'none' -> a scalar, or one value a coordinate or joint.
JointLoss = Callable[[Tensor, Tensor, str], Tensor]


@dataclass(frozen=True)
class AllLabelled:
    """Every joint has a label: the plain means."""

    joints: Tensor  # (B, J, 3) in the units of the pose space

    def loss(self, joint_loss: JointLoss, predicted: Tensor) -> Tensor:
        """The mean of a loss over labelled coordinates, or joints, whichever it has values of."""
        return joint_loss(predicted, self.joints, "mean")

    def mean_of_heatmaps(self, mean_of_all: Tensor) -> Tensor:
        """The mean over labelled joints, from that over all to which joints without a label contribute nothing."""
        return mean_of_all


@dataclass(frozen=True)
class SomeLabelled:
    """As AllLabelled, where coordinates may be NaN."""

    joints: Tensor

    @cached_property
    def known(self) -> Tensor:
        """(B, J, 3) bool."""
        return torch.isfinite(self.joints)

    def loss(self, joint_loss: JointLoss, predicted: Tensor) -> Tensor:
        """As there; a joint counts where any of its coordinates is labelled."""
        # The prediction in the place of what is missing: finite wherever the network is, and no error at all.
        true = torch.where(self.known, self.joints, predicted.detach())
        values = joint_loss(predicted, true, "none")
        known = self.known if values.dim() == self.known.dim() else self.known.any(-1)
        return torch.where(known, values, values.new_zeros(())).sum() / known.sum().clamp(min=1)

    def mean_of_heatmaps(self, mean_of_all: Tensor) -> Tensor:
        """As there: a heat map needs all three coordinates."""
        whole = self.known.all(-1)
        return mean_of_all * (whole.numel() / whole.sum().clamp(min=1))


Labels = AllLabelled | SomeLabelled
