"""One heat map a joint over the whole volume."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from integral_pose.contracts import PoseOutput
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.models.heads.deconvolutions import HEATMAP_STD, initialise, make_deconvolutions


class VolumetricHead(nn.Module):
    """Deconvolutions, then one 1 x 1 convolution to D maps a joint (Sun et al. 2018)."""

    def __init__(
        self,
        in_channels: int,
        deconv_channels: Sequence[int],
        num_joints: int,
        depth: int,
        space: PoseSpace,
        *,
        init_std: float = HEATMAP_STD,
    ) -> None:
        super().__init__()
        self.deconvolutions, channels = make_deconvolutions(in_channels, deconv_channels)
        self.to_volume = nn.Conv2d(channels, num_joints * depth, kernel_size=1)
        self.num_joints, self.depth, self.space = num_joints, depth, space
        initialise(self.deconvolutions, self.to_volume, std=init_std)

    def forward(self, features: Tensor) -> PoseOutput:
        """(B, C, h, w) -> logits (B, J, D, H, W), a view of the last convolution's memory."""
        maps = self.to_volume(self.deconvolutions(features))  # (B, J * D, H, W)
        return PoseOutput(logits=maps.unflatten(1, (self.num_joints, self.depth)), joints=None)
