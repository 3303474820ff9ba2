"""From backbone features to a heat map a joint, or straight to joint positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from integral_pose.contracts import PoseOutput
from integral_pose.geometry.coordinates import PoseSpace, StandardisedPose


class VolumetricHead(nn.Module):
    """Deconvolutions, each doubling the resolution, then one 1 x 1 convolution to D maps a joint.

    Xiao et al. 2018 (the deconvolutions), Sun et al. 2018 (the volume).
    """

    def __init__(
        self,
        in_channels: int,
        deconv_channels: Sequence[int],
        num_joints: int,
        depth: int,
        space: PoseSpace,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in deconv_channels:
            layers += [
                nn.ConvTranspose2d(in_channels, channels, kernel_size=4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            in_channels = channels
        self.deconvolutions = nn.Sequential(*layers)
        self.to_volume = nn.Conv2d(in_channels, num_joints * depth, kernel_size=1)
        self.num_joints, self.depth, self.space = num_joints, depth, space
        for layer in self.deconvolutions:
            if isinstance(layer, nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, std=0.001)  # Xiao et al.; batch normalisation follows
        # Published code takes 0.001 here too. From heat maps that flat, learning starts about ten times slower.
        nn.init.normal_(self.to_volume.weight, std=init_std)
        nn.init.zeros_(self.to_volume.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> PoseOutput:
        """(B, C, h, w) -> logits (B, J, D, H, W), a view of the last convolution's memory."""
        maps = self.to_volume(self.deconvolutions(features))  # (B, J * D, H, W)
        return PoseOutput(logits=maps.unflatten(1, (self.num_joints, self.depth)), joints=None)


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
