"""torchvision ResNets as feature extractors: images -> stride-32 feature maps."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

from integral_pose.errors import CheckpointError
from integral_pose.io.tensor_file import load_tensors

RESNETS = {
    "resnet18": (torchvision_models.resnet18, torchvision_models.ResNet18_Weights.IMAGENET1K_V1),
    "resnet34": (torchvision_models.resnet34, torchvision_models.ResNet34_Weights.IMAGENET1K_V1),
    "resnet50": (torchvision_models.resnet50, torchvision_models.ResNet50_Weights.IMAGENET1K_V1),
    "resnet101": (torchvision_models.resnet101, torchvision_models.ResNet101_Weights.IMAGENET1K_V1),
    "resnet152": (torchvision_models.resnet152, torchvision_models.ResNet152_Weights.IMAGENET1K_V1),
}


class ResNetFeatures(nn.Module):
    """A ResNet (He et al. 2016) without its pooling and classifier: (B, 3, H, W) -> (B, C, H / 32, W / 32)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        resnet = RESNETS[name][0](weights=None)
        self.num_channels: int = resnet.fc.in_features
        resnet.avgpool = resnet.fc = nn.Identity()
        self.resnet = resnet

    def forward(self, images: Tensor) -> Tensor:
        """Normalised float images -> features."""
        net = self.resnet
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        return net.layer4(net.layer3(net.layer2(net.layer1(x))))


def load_pretrained(features: ResNetFeatures, name: str, source: str) -> None:
    """Fill `features` with the weights of a classifier: 'imagenet', or the path of a torchvision state dict.

    Raises CheckpointError if they cannot be had or are of another network.
    """
    weights = _imagenet_weights(name) if source == "imagenet" else _weights_from_file(Path(source))
    backbone = {key: value for key, value in weights.items() if not key.startswith("fc.")}
    try:
        features.resnet.load_state_dict(backbone)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(f"model.pretrained {source}: is not a torchvision {name} state dict: {first}") from None


def _imagenet_weights(name: str) -> dict[str, Tensor]:
    """From torchvision's cache, else from the network."""
    weights = RESNETS[name][1]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except Exception as error:  # a network or a half-written file may fail in any way
        raise CheckpointError(
            f"model.pretrained imagenet: the weights of {name} are not in torchvision's cache and could not be "
            f"downloaded ({error}). Without a network, copy {cached.name} to {cached}, or set "
            "model.pretrained to the path where it lies, or to null to start from random weights"
        ) from None


def _weights_from_file(path: Path) -> dict[str, Tensor]:
    try:
        weights = load_tensors(path)
    except CheckpointError as error:
        raise CheckpointError(f"model.pretrained {error}") from None
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    ):
        raise CheckpointError(f"model.pretrained {path}: expected a state dict of tensors")
    return weights
