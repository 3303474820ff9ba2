"""Euclidean distance with a learnt scale: a likelihood whose slope in the coordinates is that of the distance alone.

The error e of a joint is taken to have the density

    p(e) = exp(-|e| / b) / (8 pi b^3)

in three dimensions, the same in all directions; b is the scale that the network predicts for the joint. Then |e| / b is
distributed as Gamma(3, 1), the mean of |e| is 3 b, and the standard deviation along each axis is 2 b.

The negative log-likelihood |e| / b + 3 log b + log 8 pi alone would learn least where b is large. Seitzer et al. (On
the Pitfalls of Heteroscedastic Uncertainty Estimation, ICLR 2022) multiply it by b^beta, held fixed in the gradient.
With beta = 1, as here, the gradient in the coordinates is that of |e|, and b goes to a third of the expected distance.
NLF (Sarandi & Pons-Moll, Neural Localizer Fields, NeurIPS 2024) trains its points so.
"""

import math

import torch
from torch import Tensor

LOG_VOLUME = math.log(8 * math.pi)  # of exp(-|e|) over all of space


def beta_nll(predicted: Tensor, true: Tensor, scale: Tensor, reduction: str = "mean") -> Tensor:
    """Mean over batch and joints, or 'none'; predicted and true (B, J, 3), scale b > 0 (B, J, 1), all in one unit."""
    scale = scale[..., 0].to(predicted.dtype)
    distance = torch.linalg.vector_norm(predicted - true, dim=-1)
    per_joint = scale.detach() * (distance / scale + 3 * scale.log() + LOG_VOLUME)
    return per_joint.mean() if reduction == "mean" else per_joint
