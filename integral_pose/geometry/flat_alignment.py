"""A pose without a known scale laid over a labelled one in two dimensions, with a gradient.

By the ratio of spreads, as MeTRAbs has it: with means over the labelled joints of a sample and r the root mean square
distance from their mean, aligned = (p - mean p) r(g) / r(p) + mean g. Least squares would shrink a pose that disagrees,
and could turn it over.
"""

import torch
from torch import Tensor


def align_flat(predicted: Tensor, true: Tensor) -> Tensor:
    """`predicted` (B, J, 2) in any units, scaled and moved to `true` (B, J, 2), whose unlabelled joints are NaN.

    A pose without spread, of one joint for instance, is moved alone; where nothing is labelled, it goes to the origin.
    """
    known = torch.isfinite(true).all(-1, keepdim=True)
    own, mean_own = _about_mean(predicted, known)
    other, mean_other = _about_mean(true, known)
    square = own.square().sum((1, 2), keepdim=True)
    has_spread = square > 0
    # Not the root of 0, whose slope is infinite.
    ratio = (other.square().sum((1, 2), keepdim=True) / torch.where(has_spread, square, 1.0)).sqrt()
    ratio = torch.where(has_spread, ratio, 0.0)
    return (predicted - mean_own) * ratio + mean_other


def _about_mean(joints: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """(B, J, 2) less the mean over what is known, 0 elsewhere; and that mean (B, 1, 2)."""
    there = torch.where(known, joints, joints.new_zeros(()))
    mean = there.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)
    return torch.where(known, there - mean, there), mean
