"""One heat map a joint over the whole volume."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from integral_pose.config.schema import ModelConfig
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.heatmaps.outputs import VolumeLogits
from integral_pose.models.heads.axis_terms import AxisTerms
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
        axis_terms: AxisTerms | None = None,
    ) -> None:
        super().__init__()
        self.deconvolutions, channels = make_deconvolutions(in_channels, deconv_channels)
        self.to_volume = nn.Conv2d(channels, num_joints * depth, kernel_size=1)
        self.num_joints, self.depth, self.space = num_joints, depth, space
        self.debiased, self.edge_cells = debiased, edge_cells
        initialise(self.deconvolutions, self.to_volume, std=init_std)
        self.axis_terms = axis_terms

    def forward(self, features: Tensor) -> VolumeLogits:
        """(B, C, h, w) -> logits (B, J, D, H, W), without axis terms a view of the last convolution's memory."""
        maps = self.to_volume(self.deconvolutions(features))  # (B, J * D, H, W)
        logits = maps.unflatten(1, (self.num_joints, self.depth))
        if self.axis_terms is not None:
            logits = logits + self.axis_terms(features)
        return VolumeLogits(logits, self.debiased, self.edge_cells)


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
        axis_terms=build_axis_terms(model, inputs) if model.axis_terms else None,
    )


def build_axis_terms(model: ModelConfig, inputs: HeadInputs) -> AxisTerms:
    """Round the mean pose of the training set; round the middle where a checkpoint follows."""
    height, width = (side * 2 ** len(model.deconv_channels) for side in inputs.feature_size)
    zeros = torch.zeros(model.num_joints, 3)
    mean_norm, std_norm = (inputs.space.encode(mm) for mm in inputs.statistics_mm or (zeros, zeros))
    return AxisTerms(inputs.channels, (model.volume_depth, height, width), mean_norm, std_norm)
