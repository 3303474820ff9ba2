"""Residual log-likelihood estimation (Li et al., Human Pose Regression with Residual Log-likelihood Estimation, 2021).

With the scales s the network predicts for the axes of a joint, the residual is x = (true - predicted) / s. The loss is
the sum of two negative log-likelihoods, that of a Laplace distribution and that of a flow G which all joints share:

    sum over axes (log 2 s + |x|)  +  sum over axes (log s) - log G(x)

So the published code has it, which takes log G three times a joint, once an axis; here it is once. The paper's equation
has log s once, and a constant of normalisation that the code leaves out. The flow learns what the distribution of the
residuals looks like; the first part keeps the coordinates on their way while it has not.

The slope in the coordinates grows as 1 / s. The root's label is 0 in every image, so its scale would vanish and its
slope drown all others: it has the L1 distance alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ResidualLikelihood:
    """`log_density` is that of the flow, (.., 3) -> (..); `root` is the index of the root joint."""

    log_density: Callable[[Tensor], Tensor]
    root: int

    def __call__(self, predicted: Tensor, true: Tensor, scale: Tensor, reduction: str = "mean") -> Tensor:
        """Mean over batch and joints, or 'none'; predicted, true and scale > 0 are (B, J, 3), all in the same units."""
        scale = scale.to(predicted.dtype)
        error = true - predicted
        is_root = torch.arange(predicted.shape[1], device=predicted.device) == self.root
        per_joint = self._negative_log_likelihood(error, scale)
        per_joint = torch.where(is_root, error.abs().sum(-1), per_joint)
        return per_joint.mean() if reduction == "mean" else per_joint

    def _negative_log_likelihood(self, error: Tensor, scale: Tensor) -> Tensor:
        """(B, J, 3) each -> (B, J)."""
        residual = error / scale
        laplace = ((2 * scale).log() + residual.abs()).sum(-1)
        return laplace + scale.log().sum(-1) - self.log_density(residual)
