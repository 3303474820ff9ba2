"""The networks of other projects and their decoding, written from their specification, independently of this package.

Keys, channel order, normalisation and formula are as in the published code; widths and depths are free.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.resnet import BasicBlock, Bottleneck

BLOCKS = {"resnet18": (BasicBlock, [2, 2, 2, 2]), "resnet50": (Bottleneck, [3, 4, 6, 3])}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Features(nn.Module):
    """A torchvision ResNet without pooling and classifier, and without their keys."""

    def __init__(self, name: str) -> None:
        super().__init__()
        net = resnet.ResNet(*BLOCKS[name])
        for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            setattr(self, part, getattr(net, part))
        self.channels = net.fc.in_features

    def features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    forward = features


def deconvolutions(channels: int, widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in zip([channels, *widths], widths, strict=False):
        layers += [
            nn.ConvTranspose2d(before, after, 4, 2, 1, 0, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
        ]  # fmt: skip
    return layers


class PoseNetOriginal(nn.Module):
    """backbone.*, head.deconv_layers.*, head.final_layer.*"""

    def __init__(self, name: str, widths: list[int], joints: int, depth: int) -> None:
        super().__init__()
        self.backbone = Features(name)
        self.head = nn.Module()
        self.head.deconv_layers = nn.Sequential(*deconvolutions(self.backbone.channels, widths))
        self.head.final_layer = nn.Conv2d(widths[-1], joints * depth, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head.final_layer(self.head.deconv_layers(self.backbone(x)))


class IntegralOriginal(nn.Module):
    """backbone.*, head.features.*, including the last convolution"""

    def __init__(self, name: str, widths: list[int], joints: int, depth: int) -> None:
        super().__init__()
        self.backbone = Features(name)
        self.head = nn.Module()
        last = nn.Conv2d(widths[-1], joints * depth, 1)
        self.head.features = nn.ModuleList([*deconvolutions(self.backbone.channels, widths), last])

    def forward(self, x: Tensor) -> Tensor:
        x = self.backbone(x)
        for layer in self.head.features:
            x = layer(x)
        return x


class EpipolarOriginal(Features):
    """Flat: conv1, layer1, ..., deconv_layers, final_layer"""

    def __init__(self, name: str, widths: list[int], joints: int, depth: int) -> None:
        super().__init__(name)
        self.deconv_layers = nn.Sequential(*deconvolutions(self.channels, widths))
        self.final_layer = nn.Conv2d(widths[-1], joints * depth, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.final_layer(self.deconv_layers(self.features(x)))


ORIGINALS = {
    "posenet": PoseNetOriginal, "mks-integral": PoseNetOriginal, "integral": IntegralOriginal,
    "integral-challenge": IntegralOriginal, "epipolar": EpipolarOriginal,
}  # fmt: skip


def make_original(source: str, name: str, widths: list[int], joints: int, depth: int, seed: int = 0) -> nn.Module:
    """Randomly initialised, with random batch normalisation statistics and heat maps that have peaks."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = ORIGINALS[source](name, widths, joints, depth)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
        net.eval()
        last = [module for module in net.modules() if isinstance(module, nn.Conv2d)][-1]
        with torch.no_grad():  # so that the softmax has peaks: logits of deviation 3
            last.bias.normal_()
            logits = net(normalise(source, torch.rand(1, 3, 64, 64) * 255))
            last.weight.mul_(3 / logits.std())
            last.bias.mul_(3 / logits.std())
    return net


def normalise(source: str, images: Tensor) -> Tensor:
    """(B, 3, H, W) RGB 0..255 -> normalised as in training."""
    scale = 1.0 if source in ("posenet", "mks-integral") else 255.0
    mean, std = (scale * torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


def voxels(source: str, net: nn.Module, images: Tensor, joints: int) -> Tensor:
    """(B, J, 3) expected indices along x, y, z: the soft-argmax of all four projects, in float64."""
    with torch.no_grad():
        maps = net(normalise(source, images)).double()
    batch, channels, height, width = maps.shape
    depth = channels // joints
    p = torch.softmax(maps.reshape(batch, joints, -1), 2).reshape(batch, joints, depth, height, width)
    along = (p.sum((2, 3)), p.sum((2, 4)), p.sum((3, 4)))
    return torch.stack([(m * torch.arange(m.shape[-1])).sum(-1) for m in along], -1)


def save_original(
    path: Path, net: nn.Module, *, container: str | None, prefix: str = "module.", legacy: bool = True, counters=False
) -> Path:
    """Save as the project did: old PyTorch wrote plain pickles without batch normalisation counters."""
    state = {
        prefix + key: value
        for key, value in net.state_dict().items()
        if counters or not key.endswith("num_batches_tracked")
    }
    content: object = state
    if container:
        weight = next(iter(net.parameters()))
        optimizer = {"state": {139: {"step": 3, "exp_avg": weight.detach()}}, "param_groups": [{"lr": 1e-3}]}
        content = {"epoch": 16, container: state, "optimizer": optimizer, "train_loss": [0.5, 0.25]}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
