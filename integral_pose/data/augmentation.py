"""Random augmentation of raw training images. Each augmenter draws from a random stream of its own.

A stream is fixed by (seed, epoch, sample, augmenter), so an augmented image depends neither on the number of workers
nor on the other augmenters, and a resumed run sees the images that it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from integral_pose.config.schema import AugmentationConfig
from integral_pose.contracts import PoseSample, SampleKey
from integral_pose.data.device_augmentation import DeviceAugmentation
from integral_pose.errors import ConfigError

# Colour augmenters by their key in the configuration: (imgaug.augmenters, range) -> augmenter. They are applied in this
# order, and their random streams are numbered by it: append new ones, so that the draws of the others stay the same.
COLOUR_AUGMENTERS: dict[str, Callable[[Any, tuple[float, ...]], Any]] = {
    "hue_saturation": lambda augmenters, bounds: augmenters.AddToHueAndSaturation(bounds),
    "contrast": lambda augmenters, bounds: augmenters.LinearContrast(bounds),
    "brightness": lambda augmenters, bounds: augmenters.Multiply(bounds, per_channel=True),
}


class Augmentation(Protocol):
    """An augmentation of one sample; labels in pixels move with the image."""

    def __call__(self, sample: PoseSample, key: SampleKey) -> PoseSample:
        """The augmented sample."""
        ...


def stream_seed(seed: int, key: SampleKey, stream: int) -> int:
    """128-bit seed of one augmenter for one sample."""
    words = np.random.SeedSequence([seed, key.epoch, key.row, stream]).generate_state(4, np.uint32)
    return int.from_bytes(words.tobytes(), "little")


class ImgaugAugmentation:
    """The augmenters of Pantalos & Rudin 2019, in imgaug: shift and scale, hue and saturation, contrast, brightness.

    `translate_percent` is a range on each axis; the literal constant of that report's code is [0.05, 0.05]. `colours`
    are the ranges of COLOUR_AUGMENTERS. 2D labels move with the image, 3D labels do not, but for their depth with
    `scale_depth` (see `device_augmentation`).
    """

    def __init__(
        self,
        *,
        seed: int,
        translate_percent: Sequence[float],
        scale: Sequence[float],
        scale_depth: bool = False,
        **colours: Sequence[float],
    ) -> None:
        augmenters = _import_imgaug().augmenters
        shift, zoom = tuple(translate_percent), tuple(scale)
        self.seed, self.scale_depth = seed, scale_depth
        self.affine = augmenters.Affine(translate_percent={"x": shift, "y": shift}, scale={"x": zoom, "y": zoom})
        self.colours = [make(augmenters, tuple(colours[name])) for name, make in COLOUR_AUGMENTERS.items()]

    def __call__(self, sample: PoseSample, key: SampleKey) -> PoseSample:
        """The augmented sample."""
        self._reseed(self.affine, key, 0)
        image, joints_crop_px, moved = _move(self.affine, sample.image, sample.joints_crop_px)
        for stream, augmenter in enumerate(self.colours, start=1):
            self._reseed(augmenter, key, stream)
            image = augmenter.augment_image(image)
        depth_scale = float(np.sqrt(moved[0, 0] * moved[1, 1])) if self.scale_depth else 1.0
        joints_camera_mm = sample.joints_camera_mm * np.array([1, 1, depth_scale], np.float32)
        return PoseSample(sample.index, image, joints_camera_mm, joints_crop_px, moved, depth_scale)

    def _reseed(self, augmenter: Any, key: SampleKey, stream: int) -> None:
        generator = np.random.Generator(np.random.PCG64(stream_seed(self.seed, key, stream)))
        augmenter.random_state = _import_imgaug().random.RNG(generator)


def build_augmentation(config: AugmentationConfig, seed: int) -> Augmentation | None:
    """The augmentation of single images where they are loaded; None: there is none."""
    if config.backend != "imgaug":
        return None
    keys = {"translate_percent", "scale", "scale_depth", *COLOUR_AUGMENTERS}
    return ImgaugAugmentation(seed=seed, **config.model_dump(include=keys))


def build_device_augmentation(
    config: AugmentationConfig, seed: int, flip_order: Sequence[int]
) -> DeviceAugmentation | None:
    """The augmentation of whole batches on the device; None: there is none."""
    if config.backend != "device":
        return None
    keys = {field.name for field in fields(DeviceAugmentation)}
    return DeviceAugmentation(seed=seed, flip_order=flip_order, **config.model_dump(include=keys))


def _move(
    augmenter: Any, image: NDArray[np.uint8], joints_crop_px: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """The transformed image and joints, and the transform (2, 3): px of the image before -> px of the image after."""
    # imgaug's pixel convention is ours: the centre of the first one is at 0.5. It does not return what it drew, so the
    # transform is found from three more points.
    height, width = image.shape[:2]
    points = np.concatenate([joints_crop_px, [[0, 0], [width, 0], [0, height]]])
    keypoints = _import_imgaug().augmentables.kps.KeypointsOnImage.from_xy_array(points, shape=image.shape)
    image, keypoints = augmenter(image=image, keypoints=keypoints)
    points = keypoints.to_xy_array().astype(np.float32)
    origin, right, below = points[-3:]
    moved = np.stack([(right - origin) / width, (below - origin) / height, origin], -1)
    return image, points[:-3], moved


def _import_imgaug() -> Any:
    try:
        import imgaug  # heavy, and needed by this backend alone
    except ImportError as error:
        raise ConfigError(
            f"data.augmentation.backend imgaug: the package cannot be imported ({error}); install its maintained "
            "fork with 'pip install imaug', or set data.augmentation.backend to none"
        ) from None
    return imgaug
