"""Backbone and head as one network that takes raw images and knows what its numbers mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from integral_pose.config import Config
from integral_pose.contracts import CropViews, PoseOutput
from integral_pose.geometry.coordinates import ImageVolume, MetricVolume, PoseSpace
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
        output = self(images)
        joints = output.joints if output.logits is None else soft_argmax(output.logits)
        return self.space.decode(joints.float(), views)


def build_space(config: Config) -> PoseSpace:
    """What the heat maps of an experiment span."""
    if config.model.volume == "metric":
        return MetricVolume(config.model.extent_mm, HUMAN36M.root)
    height_px, width_px = config.data.image_size
    return ImageVolume(config.model.depth_extent_mm, height_px, width_px, HUMAN36M.root)


def build_model(config: Config, *, pretrained: bool = True) -> PoseNet:
    """The network of an experiment. With `pretrained` False `model.pretrained` is not read: a checkpoint follows."""
    model = config.model
    backbone = ResNetFeatures(model.backbone)
    if model.pretrained and pretrained:
        load_pretrained(backbone, model.backbone, model.pretrained)
    if model.head == "regression":
        return PoseNet(backbone, RegressionHead(backbone.num_channels, model.num_joints, HUMAN36M.root))
    space = build_space(config)
    head = VolumetricHead(backbone.num_channels, model.deconv_channels, model.num_joints, model.volume_depth, space)
    return PoseNet(backbone, head)
