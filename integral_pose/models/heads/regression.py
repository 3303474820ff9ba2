"""No heat maps: the pose as numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from integral_pose.contracts import PoseOutput
from integral_pose.geometry.coordinates import StandardisedPose


class RegressionHead(nn.Module):
    """Global average and one linear layer to the standardised pose.

    The pose statistics are buffers, so that a checkpoint is complete in itself.
    """

    mean_mm: Tensor
    std_mm: Tensor

    def __init__(self, in_channels: int, num_joints: int, root: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, num_joints * 3)
        self.num_joints, self.root = num_joints, root
        self.register_buffer("mean_mm", torch.zeros(num_joints, 3))
        self.register_buffer("std_mm", torch.ones(num_joints, 3))

    @property
    def space(self) -> StandardisedPose:
        """What the three numbers a joint mean."""
        return StandardisedPose(self.mean_mm, self.std_mm, self.root)

    def forward(self, features: Tensor) -> PoseOutput:
        """(B, C, h, w) -> joints (B, J, 3) in deviations from the mean pose."""
        joints = self.linear(features.mean((-2, -1))).unflatten(1, (self.num_joints, 3))
        return PoseOutput(logits=None, joints=joints)
