"""What the heads with heat maps begin with: deconvolutions, each doubling the resolution (Xiao et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

# Published code takes 0.001. From heat maps that flat, learning starts about ten times slower.
HEATMAP_STD = 0.02


def make_deconvolutions(in_channels: int, deconv_channels: Sequence[int]) -> tuple[nn.Sequential, int]:
    """The layers, and how many channels come out of them."""
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
    """Draw the weights of the deconvolutions, then those of the layers that say the logits, with deviation `std`."""
    for layer in deconvolutions:
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.001)  # Xiao et al.; batch normalisation follows
    for to_heatmap in to_heatmaps:
        nn.init.normal_(to_heatmap.weight, std=std)
        assert to_heatmap.bias is not None
        nn.init.zeros_(to_heatmap.bias)
