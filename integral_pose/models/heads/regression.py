"""No heat maps: the pose as numbers."""

import torch
from torch import Tensor, nn

from integral_pose.config.schema import ModelConfig
from integral_pose.geometry.coordinates import StandardisedPose
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.models.heads.shared import HeadInputs


class RegressionHead(nn.Module):
    """Global average and one linear layer to the standardised pose.

    The pose statistics are buffers, so that a checkpoint is complete in itself.
    """

    mean_mm: Tensor
    std_mm: Tensor

    def __init__(
        self, in_channels: int, num_joints: int, root: int, statistics_mm: tuple[Tensor, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.deconvolutions = nn.Sequential()  # none
        self.linear = nn.Linear(in_channels, num_joints * 3)
        self.num_joints, self.root = num_joints, root
        mean_mm, std_mm = statistics_mm or (torch.zeros(num_joints, 3), torch.ones(num_joints, 3))
        self.register_buffer("mean_mm", mean_mm.clone())
        self.register_buffer("std_mm", std_mm.clone())

    @property
    def space(self) -> StandardisedPose:
        """What the three numbers a joint mean."""
        return StandardisedPose(self.mean_mm, self.std_mm, self.root)

    def forward(self, features: Tensor) -> Coordinates:
        """(B, C, h, w) -> joints (B, J, 3) in deviations from the mean pose."""
        return Coordinates(self.linear(features.mean((-2, -1))).unflatten(1, (self.num_joints, 3)))


def build_regression(model: ModelConfig, inputs: HeadInputs) -> RegressionHead:
    """The head of the section `model`."""
    return RegressionHead(inputs.channels, model.num_joints, inputs.root, inputs.statistics_mm)
