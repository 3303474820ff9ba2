"""What heads have in common: what they are built from, and deconvolutions (Xiao et al. 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from integral_pose.contracts import NetworkOutput
from integral_pose.geometry.coordinates import PoseSpace

# Published code takes 0.001. From heat maps that flat, learning starts about ten times slower.
HEATMAP_STD = 0.02


class Head(Protocol):
    """What a network asks of its head, which is an nn.Module.

    What makes joints of its `deconvolutions`, or straight of the features, is its last layer.
    """

    deconvolutions: nn.Sequential

    @property
    def space(self) -> PoseSpace:
        """What the three numbers a joint mean."""
        ...

    def __call__(self, features: Tensor) -> NetworkOutput:
        """(B, C, h, w) -> the output of the network."""
        ...


@dataclass(frozen=True)
class HeadInputs:
    """What a head is built for, beside its configuration."""

    channels: int  # of the features
    feature_size: tuple[int, int]  # (h, w) of the features
    space: PoseSpace  # what a volume spans
    root: int
    edge_cells: bool = False  # see `VolumeLogits`
    statistics_mm: tuple[Tensor, Tensor] | None = None  # mean and deviation (J, 3) of the training poses
    statistics_norm: tuple[Tensor, Tensor] | None = None  # the same in the units of `space`, for heat maps


def make_deconvolutions(in_channels: int, deconv_channels: Sequence[int]) -> tuple[nn.Sequential, int]:
    """The layers, each of which doubles the resolution, and how many channels come out of them."""
    layers: list[nn.Module] = []
    for channels in deconv_channels:
        layers += [
            nn.ConvTranspose2d(in_channels, channels, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
        in_channels = channels
    return nn.Sequential(*layers), in_channels


def initialise(deconvolutions: nn.Sequential, *to_heatmaps: nn.Conv1d | nn.Conv2d, std: float = HEATMAP_STD) -> None:
    """Draw the weights of the deconvolutions, then those of the layers that make the logits, with deviation `std`."""
    for layer in deconvolutions:
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.001)  # Xiao et al.; batch normalisation follows
    for to_heatmap in to_heatmaps:
        nn.init.normal_(to_heatmap.weight, std=std)
        assert to_heatmap.bias is not None
        nn.init.zeros_(to_heatmap.bias)
