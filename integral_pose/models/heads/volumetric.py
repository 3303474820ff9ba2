"""One heat map a joint over the whole volume."""

from collections.abc import Sequence

from torch import Tensor, nn

from integral_pose.config.schema import ModelConfig
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.heatmaps.outputs import VolumeLogits
from integral_pose.models.heads.axis_terms import AxisAddition, build_axis_terms
from integral_pose.models.heads.shared import HEATMAP_STD, HeadInputs, initialise, make_deconvolutions


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
        debiased: bool = False,
        edge_cells: bool = False,
        axis_terms: AxisAddition | None = None,
    ) -> None:
        super().__init__()
        self.deconvolutions, channels = make_deconvolutions(in_channels, deconv_channels)
        self.to_volume = nn.Conv2d(channels, num_joints * depth, kernel_size=1)
        self.num_joints, self.depth, self.space = num_joints, depth, space
        self.debiased, self.edge_cells = debiased, edge_cells
        initialise(self.deconvolutions, self.to_volume, std=init_std)
        self.axis_terms = axis_terms

    def forward(self, features: Tensor) -> VolumeLogits:
        """(B, C, h, w) -> logits (B, J, D, H, W), a view of the last convolution's memory."""
        maps = self.to_volume(self.deconvolutions(features))  # (B, J * D, H, W)
        logits = maps.unflatten(1, (self.num_joints, self.depth))
        axis_logits = None if self.axis_terms is None else self.axis_terms(features)
        return VolumeLogits(logits, self.debiased, self.edge_cells, axis_logits)


def build_volumetric(model: ModelConfig, inputs: HeadInputs) -> VolumetricHead:
    """The head of the section `model`."""
    return VolumetricHead(
        inputs.channels,
        model.deconv_channels,
        model.num_joints,
        model.volume_depth,
        inputs.space,
        init_std=model.head_init_std,
        debiased=model.decoder == "debiased",
        edge_cells=inputs.edge_cells,
        axis_terms=build_axis_terms(model, inputs),
    )
