"""Backbone and head as one network that takes raw images and knows what its numbers mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from integral_pose.config.schema import BACKBONE_STRIDE, Config, ModelConfig
from integral_pose.contracts import CropViews, PoseOutput
from integral_pose.geometry.coordinates import ImageVolume, MetricVolume, PoseSpace, centred_to_edge_norm
from integral_pose.heatmaps.decode import locate
from integral_pose.models.backbone import ResNetFeatures, load_pretrained
from integral_pose.models.heads import AxesHead, Head, PlanesHead, RegressionHead, VolumetricHead
from integral_pose.skeleton import HUMAN36M

# Of RGB in 0..1 over ImageNet; kept in every checkpoint, so that a model file says what input it wants.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class PoseNet(nn.Module):
    """(B, 3, H, W) RGB 0..255 -> PoseOutput. Height and width must be divisible by 32."""

    image_mean: Tensor
    image_std: Tensor

    edge_cells = False  # imported weights: cell i of an axis of n lies at i / n, not at (i + 0.5) / n

    def __init__(self, backbone: nn.Module, head: Head, *, debiased: bool = False) -> None:
        super().__init__()
        self.backbone, self.head, self.debiased = backbone, head, debiased
        self.register_buffer("image_mean", 255 * torch.tensor(IMAGE_MEAN)[:, None, None])
        self.register_buffer("image_std", 255 * torch.tensor(IMAGE_STD)[:, None, None])

    @property
    def space(self) -> PoseSpace:
        """What the three numbers a joint mean."""
        return self.head.space

    def forward(self, images: Tensor) -> PoseOutput:
        """Images as uint8 or float 0..255; normalised here."""
        return self.head(self.backbone((images.float() - self.image_mean) / self.image_std))

    def predict_camera_mm(self, images: Tensor, views: CropViews | None = None) -> Tensor:
        """(B, 3, H, W) RGB 0..255 -> joints (B, J, 3) mm in camera axes, root-relative, float32.

        The image volume needs the views of the crops; nothing else does.
        """
        return self.space.decode(self.locate(self(images)), views)

    def locate(self, output: PoseOutput) -> Tensor:
        """What the network says of a batch -> joints (B, J, 3) in the units of `space`, float32."""
        joints = locate(output, debiased=self.debiased).float()
        if self.edge_cells and output.logits is not None:
            return centred_to_edge_norm(joints, output.logits.shape[2:])
        return joints


def build_space(model: ModelConfig, image_size: Sequence[int], root: int) -> PoseSpace:
    """What the heat maps of a network span; `image_size` is (height, width) of its crops in px."""
    if model.volume == "metric":
        return MetricVolume(model.extent_mm, root)
    height_px, width_px = image_size
    return ImageVolume(model.depth_extent_mm, height_px, width_px, root)


def build_model(config: Config, *, pretrained: bool = True) -> PoseNet:
    """The network of an experiment. With `pretrained` False `model.pretrained` is not read: a checkpoint follows."""
    return build_network(config.model, config.data.image_size, HUMAN36M.root, pretrained=pretrained)


def build_network(model: ModelConfig, image_size: Sequence[int], root: int, *, pretrained: bool) -> PoseNet:
    """The network that the section `model` describes, for any skeleton; `root` is the index of its root joint."""
    backbone = ResNetFeatures(model.backbone)
    if model.pretrained and pretrained:
        load_pretrained(backbone, model.backbone, model.pretrained)
    if model.head == "regression":
        return PoseNet(backbone, RegressionHead(backbone.num_channels, model.num_joints, root))
    space = build_space(model, image_size, root)
    made_of = (backbone.num_channels, model.deconv_channels, model.num_joints, model.volume_depth, space)
    if model.head == "planes":
        return PoseNet(backbone, PlanesHead(*made_of, init_std=model.head_init_std))
    if model.head == "axes":
        height, width = (side // BACKBONE_STRIDE for side in image_size)
        return PoseNet(backbone, AxesHead(*made_of, (height, width), model.cells_per_feature))
    return PoseNet(
        backbone, VolumetricHead(*made_of, init_std=model.head_init_std), debiased=model.decoder == "debiased"
    )
