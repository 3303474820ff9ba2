"""Images -> feature maps: torchvision's ResNets, and any convolutional model of timm as `timm/NAME`."""

from collections.abc import Sequence

from integral_pose.models.backbones.resnet import ResNetFeatures
from integral_pose.models.backbones.timm_models import PREFIX, TimmFeatures

Backbone = ResNetFeatures | TimmFeatures


def build_backbone(name: str, stride: int, image_size: Sequence[int]) -> Backbone:
    """Random weights; the features where the model has this stride. `image_size` is (height, width) px.

    Raises ConfigError for a model of timm that is unknown or has no such features.
    """
    if name.startswith(PREFIX):
        return TimmFeatures(name.removeprefix(PREFIX), stride, image_size)
    return ResNetFeatures(name, stride)
