"""Three flat heat maps a joint, in the place of the volume that they are the sides of."""

from collections.abc import Sequence

from torch import Tensor, nn

from integral_pose.config.schema import ModelConfig
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.heatmaps.outputs import MarginalLogits
from integral_pose.models.heads.axis_terms import AxisAddition, build_axis_terms
from integral_pose.models.heads.shared import HEATMAP_STD, HeadInputs, initialise, make_deconvolutions


class PlanesHead(nn.Module):
    """Deconvolutions, then one convolution a plane: yx from the features, zy from their mean over x, zx over y.

    The heat maps are those of MargiPose (Nibali et al. 2019), in one stage; how the features get to the two planes
    with depth is ours.
    """

    def __init__(
        self,
        in_channels: int,
        deconv_channels: Sequence[int],
        num_joints: int,
        depth: int,
        space: PoseSpace,
        *,
        init_std: float = HEATMAP_STD,
        axis_terms: AxisAddition | None = None,
    ) -> None:
        super().__init__()
        self.deconvolutions, channels = make_deconvolutions(in_channels, deconv_channels)
        self.to_yx = nn.Conv2d(channels, num_joints, kernel_size=1)
        self.to_zy = nn.Conv1d(channels, num_joints * depth, kernel_size=1)
        self.to_zx = nn.Conv1d(channels, num_joints * depth, kernel_size=1)
        self.num_joints, self.depth, self.space = num_joints, depth, space
        initialise(self.deconvolutions, self.to_yx, self.to_zy, self.to_zx, std=init_std)
        self.axis_terms = axis_terms

    def forward(self, features: Tensor) -> MarginalLogits:
        """(B, C, h, w) -> marginals (B, J, H, W), (B, J, D, H) and (B, J, D, W)."""
        maps = self.deconvolutions(features)
        depths = (self.num_joints, self.depth)
        zy = self.to_zy(maps.mean(-1)).unflatten(1, depths)
        zx = self.to_zx(maps.mean(-2)).unflatten(1, depths)
        yx = self.to_yx(maps)
        if self.axis_terms is not None:  # a plane of the terms' volume is their sum along its two axes
            x, y, z = self.axis_terms(features)
            yx, zy, zx = (
                logits + (first[..., None] + second[..., None, :])
                for logits, first, second in ((yx, y, x), (zy, z, y), (zx, z, x))
            )
        return MarginalLogits((yx, zy, zx))


def build_planes(model: ModelConfig, inputs: HeadInputs) -> PlanesHead:
    """The head of the section `model`."""
    return PlanesHead(
        inputs.channels,
        model.deconv_channels,
        model.num_joints,
        model.volume_depth,
        inputs.space,
        init_std=model.head_init_std,
        axis_terms=build_axis_terms(model, inputs),
    )
