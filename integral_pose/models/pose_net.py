"""Backbone and head as one network that takes raw images and knows what its numbers mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from integral_pose.config import Config, ModelConfig
from integral_pose.contracts import CropViews, PoseOutput
from integral_pose.geometry.coordinates import ImageVolume, MetricVolume, PoseSpace, centred_to_edge_norm
from integral_pose.kernels.volume import soft_argmax
from integral_pose.models.backbone import ResNetFeatures, load_pretrained
from integral_pose.models.heads import RegressionHead, VolumetricHead
from integral_pose.skeleton import HUMAN36M

# Of RGB in 0..1 over ImageNet; kept in every checkpoint, so that a model file says what input it wants.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class PoseNet(nn.Module):
    """(B, 3, H, W) RGB 0..255 -> PoseOutput. Height and width must be divisible by 32."""

    image_mean: Tensor
    image_std: Tensor

    edge_cells = False  # imported weights: cell i of an axis of n lies at i / n, not at (i + 0.5) / n

    def __init__(self, backbone: nn.Module, head: VolumetricHead | RegressionHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
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
        if output.joints is not None:
            return output.joints.float()
        assert output.logits is not None, "a network gives one of the two"
        joints_norm = soft_argmax(output.logits).float()
        return centred_to_edge_norm(joints_norm, output.logits.shape[2:]) if self.edge_cells else joints_norm


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
    head = VolumetricHead(
        backbone.num_channels,
        model.deconv_channels,
        model.num_joints,
        model.volume_depth,
        space,
        init_std=model.head_init_std,
    )
    return PoseNet(backbone, head)
