"""Losses of predicted against true coordinates, (.., 3) both, in the units of the network's pose space.

`reduction` is 'mean', or 'none' for one value a coordinate (`euclidean`: a joint), of which not all may count.
"""

import torch
from torch import Tensor
from torch.nn import functional

from integral_pose.losses.labels import JointLoss


def l1(predicted: Tensor, true: Tensor, reduction: str = "mean") -> Tensor:
    """Mean absolute difference over batch, joints and axes, in the units of the input (Sun et al. 2018)."""
    return functional.l1_loss(predicted, true, reduction=reduction)


def smooth_l1(predicted: Tensor, true: Tensor, reduction: str = "mean") -> Tensor:
    """Quadratic below SMOOTH_BELOW, like `l1` less half of it above (Huber); the same slope as `l1` far away."""
    return functional.smooth_l1_loss(predicted, true, reduction=reduction, beta=SMOOTH_BELOW)


def l2(predicted: Tensor, true: Tensor, reduction: str = "mean") -> Tensor:
    """Mean squared difference over batch, joints and axes."""
    return functional.mse_loss(predicted, true, reduction=reduction)


def euclidean(predicted: Tensor, true: Tensor, reduction: str = "mean") -> Tensor:
    """Mean distance over batch and joints: the MPJPE in the units of the input, whose slope is 0 at the truth."""
    distance = torch.linalg.vector_norm(predicted - true, dim=-1)
    return distance.mean() if reduction == "mean" else distance


SMOOTH_BELOW = 0.01  # norm: 22 mm in a volume of 2.2 m
JOINT_LOSSES: dict[str, JointLoss] = {"l1": l1, "smooth_l1": smooth_l1, "l2": l2, "euclidean": euclidean}
