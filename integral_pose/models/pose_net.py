"""Backbone and head as one network that takes raw images and knows what its numbers mean."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from integral_pose.config.schema import ModelConfig
from integral_pose.contracts import CropViews, NetworkOutput
from integral_pose.geometry.coordinates import ImageVolume, MetricVolume, PoseSpace
from integral_pose.heatmaps.uncertain_output import UncertainOutput
from integral_pose.models.backbones import Backbone, build_backbone
from integral_pose.models.freezing import keep_frozen_statistics
from integral_pose.models.heads import HEADS, Head, HeadInputs
from integral_pose.models.uncertainty import JointScale, build_uncertainty

EARLY_STRIDE = 8  # of the features up to which model.freeze 'early' keeps the weights


class PoseNet(nn.Module):
    """(B, 3, H, W) RGB 0..255 -> VolumeLogits, MarginalLogits or Coordinates, as the head makes them.

    With `uncertainty` that output is within an UncertainOutput.

    Height and width must be divisible by 32. The normalisation is the backbone's, kept in every checkpoint, so that a
    model file says what input it wants.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, backbone: Backbone, head: Head, uncertainty: JointScale | None = None) -> None:
        super().__init__()
        self.backbone, self.head, self.uncertainty = backbone, head, uncertainty
        self.register_buffer("image_mean", 255 * torch.tensor(backbone.image_mean)[:, None, None])
        self.register_buffer("image_std", 255 * torch.tensor(backbone.image_std)[:, None, None])

    @property
    def space(self) -> PoseSpace:
        """What the three numbers a joint mean."""
        return self.head.space

    def forward(self, images: Tensor) -> NetworkOutput:
        """Images as uint8 or float 0..255; normalised here."""
        features = self.backbone((images.float() - self.image_mean) / self.image_std)
        output = self.head(features)
        return output if self.uncertainty is None else UncertainOutput(output, *self.uncertainty(features))

    def train(self, mode: bool = True) -> Self:
        """As of every module, but what is frozen stays in evaluation mode."""
        super().train(mode)
        keep_frozen_statistics(self)
        return self

    def predict_camera_mm(self, images: Tensor, views: CropViews | None = None) -> Tensor:
        """(B, 3, H, W) RGB 0..255 -> joints (B, J, 3) mm in camera axes, root-relative, float32.

        The image volume needs the views of the crops; nothing else does.
        """
        return self.space.decode(self(images).joints(), views)


def build_space(model: ModelConfig, image_size: Sequence[int], root: int) -> PoseSpace:
    """What the heat maps of a network span; `image_size` is (height, width) of its crops in px."""
    if model.volume == "metric":
        return MetricVolume(model.extent_mm, root)
    height_px, width_px = image_size
    return ImageVolume(model.depth_extent_mm, height_px, width_px, root)


def build_network(
    model: ModelConfig,
    image_size: Sequence[int],
    root: int,
    *,
    pretrained: bool,
    space: PoseSpace | None = None,
    edge_cells: bool = False,
    statistics_mm: tuple[Tensor, Tensor] | None = None,
    statistics_norm: tuple[Tensor, Tensor] | None = None,
) -> PoseNet:
    """The network that the section `model` describes, for any skeleton; `root` is the index of its root joint.

    With `pretrained` False `model.pretrained` is not read: a checkpoint follows. `space` None is that of the section;
    `edge_cells` is for imported volumes. Mean and deviation (J, 3) of the training poses: `statistics_mm` for
    regression, `statistics_norm`, in the units of the space, for the prior of heat maps.
    """
    backbone = build_backbone(model.backbone, model.backbone_stride, image_size)
    if model.pretrained and pretrained:
        backbone.load_pretrained(model.pretrained)
    if model.freeze == "early":
        backbone.freeze(EARLY_STRIDE)
    elif model.freeze != "none":
        backbone.requires_grad_(False)
    height, width = (side // model.backbone_stride for side in image_size)
    space = space or build_space(model, image_size, root)
    inputs = HeadInputs(backbone.num_channels, (height, width), space, root, edge_cells, statistics_mm, statistics_norm)
    head = HEADS[model.head](model, inputs)
    if model.freeze == "all_but_last":
        head.deconvolutions.requires_grad_(False)
    return PoseNet(backbone, head, build_uncertainty(model, backbone.num_channels))
