"""The section `data.augmentation`."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from integral_pose.config.section import Section
from integral_pose.config.value_types import (
    HueRange,
    JpegRange,
    NonNegativeRange,
    PositiveRange,
    Range,
    Share,
    ShareRange,
)

BACKENDS_OF = {  # augmenters that are off by default, and the backends that have them
    "rotation": ("device",), "rotation_share": ("device",), "flip": ("imgaug", "device"),
    "desaturation": ("imgaug", "device"), "blur_px": ("imgaug", "device"), "erase": ("imgaug", "device"),
    "jpeg": ("imgaug",),
}  # fmt: skip


class AugmentationConfig(Section):
    """Random changes to the raw training image; each range is drawn from uniformly, per image."""

    backend: Literal["none", "imgaug", "device"] = "imgaug"  # device: whole batches, where the network is
    translate_percent: Range = [-0.05, 0.05]  # of the image side, each axis by itself
    scale: PositiveRange = [0.75, 1.25]  # x and y by themselves
    hue_saturation: HueRange = [-60, 60]  # added, 0..255 scale
    contrast: Range = [0.7, 1.3]  # factor around grey 128
    brightness: PositiveRange = [0.5, 1.5]  # factor, each colour channel by itself
    rotation: Range = [0.0, 0.0]  # degrees, clockwise in the picture; 3D labels turn along (backend device)
    rotation_share: Share = 1.0  # probability of being turned
    flip: Share = 0.0  # probability of mirroring picture and labels
    desaturation: ShareRange = [0.0, 0.0]  # share of grey: 1 is a grey picture
    blur_px: NonNegativeRange = [0.0, 0.0]  # standard deviation of a Gaussian in the network's input
    erase: Share = 0.0  # probability of covering a rectangle
    jpeg: JpegRange = [0, 0]  # compression, 100 - quality; 0: not compressed (backend imgaug)
    scale_depth: bool = False  # image volume: the labels' depth is scaled with the picture

    @model_validator(mode="after")
    def _nothing_ignored(self) -> AugmentationConfig:
        for name, backends in BACKENDS_OF.items():
            if self.backend not in backends:
                self.refuse_changed([name], f"backend '{self.backend}'", f"set backend to {' or '.join(backends)}")
        return self
