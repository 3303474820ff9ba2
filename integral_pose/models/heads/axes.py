"""Three classifications a joint, one an axis."""

from collections.abc import Sequence

from torch import Tensor, nn

from integral_pose.config.schema import ModelConfig
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.heatmaps.outputs import MarginalLogits
from integral_pose.models.heads.axis_terms import AxisAddition, build_axis_terms
from integral_pose.models.heads.shared import HeadInputs, initialise, make_deconvolutions


class AxesHead(nn.Module):
    """Deconvolutions, if any; one map a joint, laid out as a vector; one linear layer an axis, shared by the joints.

    After SimCC (Li et al. 2022). The linear layers see every pixel of the map, so the network is of one image size:
    `feature_size` is (h, w) of the features that come in. `cells_per_feature` is SimCC's splitting factor.
    """

    def __init__(
        self,
        in_channels: int,
        deconv_channels: Sequence[int],
        num_joints: int,
        depth: int,
        space: PoseSpace,
        feature_size: tuple[int, int],
        cells_per_feature: int,
        axis_terms: AxisAddition | None = None,
    ) -> None:
        super().__init__()
        self.deconvolutions, channels = make_deconvolutions(in_channels, deconv_channels)
        self.map_size = tuple(side * 2 ** len(deconv_channels) for side in feature_size)
        height, width = self.map_size
        self.to_joints = nn.Conv2d(channels, num_joints, kernel_size=1)
        self.to_x = nn.Linear(height * width, width * cells_per_feature)
        self.to_y = nn.Linear(height * width, height * cells_per_feature)
        self.to_z = nn.Linear(height * width, depth)
        self.space = space
        initialise(self.deconvolutions)
        self.axis_terms = axis_terms

    def forward(self, features: Tensor) -> MarginalLogits:
        """(B, C, h, w) -> marginals (B, J, W), (B, J, H) and (B, J, D)."""
        maps = self.to_joints(self.deconvolutions(features))
        if tuple(maps.shape[-2:]) != self.map_size:
            raise ValueError(
                f"head 'axes' was made for maps of {self.map_size} pixels (height, width) and got "
                f"{tuple(maps.shape[-2:])}: give it images of the size that it was built for (data.image_size)"
            )
        vectors = maps.flatten(2)  # (B, J, H * W)
        x, y, z = self.to_x(vectors), self.to_y(vectors), self.to_z(vectors)
        if self.axis_terms is not None:
            x, y, z = (logits + terms for logits, terms in zip((x, y, z), self.axis_terms(features), strict=True))
        return MarginalLogits((x, y, z))


def build_axes(model: ModelConfig, inputs: HeadInputs) -> AxesHead:
    """The head of the section `model`."""
    return AxesHead(
        inputs.channels,
        model.deconv_channels,
        model.num_joints,
        model.volume_depth,
        inputs.space,
        inputs.feature_size,
        model.cells_per_feature,
        build_axis_terms(model, inputs),
    )
