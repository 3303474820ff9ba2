"""Random changes to a raw training image. Each augmenter draws from a stream of its own.

A stream is fixed by (seed, epoch, sample, augmenter), so a picture does not depend on the number of workers
or on the other augmenters, and a run that is continued sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from integral_pose.config.schema import AugmentationConfig
from integral_pose.contracts import PoseSample, SampleKey
from integral_pose.data.device_augmentation import DeviceAugmentation
from integral_pose.errors import ConfigError

SOURCE_RANGES = {"translate_percent", "scale", "hue_saturation", "contrast", "brightness"}


class Augmentation(Protocol):
    """Changes a sample; labels that the change moves in the picture move along."""

    def __call__(self, sample: PoseSample, key: SampleKey) -> PoseSample:
        """The changed sample."""
        ...


def stream_seed(seed: int, key: SampleKey, stream: int) -> int:
    """128 bits from which one augmenter draws for one sample."""
    words = np.random.SeedSequence([seed, key.epoch, key.row, stream]).generate_state(4, np.uint32)
    return int.from_bytes(words.tobytes(), "little")


class ImgaugAugmentation:
    """The augmenters of Pantalos & Rudin 2019, in imgaug.

    Affine with shift and scale, hue and saturation, contrast, brightness a channel. `translate_percent` is a
    range on each axis; the literal constant of that report's code is [0.05, 0.05]. The 2D labels move with the
    picture, the 3D ones do not, but for their depth with `scale_depth` (`device_augmentation` says what that is).
    """

    def __init__(
        self,
        *,
        seed: int,
        translate_percent: Sequence[float],
        scale: Sequence[float],
        hue_saturation: Sequence[int],
        contrast: Sequence[float],
        brightness: Sequence[float],
        scale_depth: bool = False,
    ) -> None:
        augmenters = _import_imgaug().augmenters
        shift, zoom = tuple(translate_percent), tuple(scale)
        self.seed, self.scale_depth = seed, scale_depth
        self.augmenters = [
            augmenters.Affine(translate_percent={"x": shift, "y": shift}, scale={"x": zoom, "y": zoom}),
            augmenters.AddToHueAndSaturation(tuple(hue_saturation)),
            augmenters.LinearContrast(tuple(contrast)),
            augmenters.Multiply(tuple(brightness), per_channel=True),
        ]

    def __call__(self, sample: PoseSample, key: SampleKey) -> PoseSample:
        """The changed sample."""
        affine, *colours = self.augmenters
        self._reseed(affine, key, 0)
        image, joints_crop_px, moved = _move(affine, sample.image, sample.joints_crop_px)
        for stream, augmenter in enumerate(colours, start=1):
            self._reseed(augmenter, key, stream)
            image = augmenter.augment_image(image)
        depth_scale = float(np.sqrt(moved[0, 0] * moved[1, 1])) if self.scale_depth else 1.0
        joints_camera_mm = sample.joints_camera_mm * np.array([1, 1, depth_scale], np.float32)
        return PoseSample(sample.index, image, joints_camera_mm, joints_crop_px, moved, depth_scale)

    def _reseed(self, augmenter: Any, key: SampleKey, stream: int) -> None:
        generator = np.random.Generator(np.random.PCG64(stream_seed(self.seed, key, stream)))
        augmenter.random_state = _import_imgaug().random.RNG(generator)


def build_augmentation(config: AugmentationConfig, seed: int) -> Augmentation | None:
    """What an experiment changes image by image where it loads them, None for nothing."""
    if config.backend != "imgaug":
        return None
    return ImgaugAugmentation(seed=seed, **config.model_dump(include=SOURCE_RANGES | {"scale_depth"}))


def build_device_augmentation(
    config: AugmentationConfig, seed: int, flip_order: Sequence[int]
) -> DeviceAugmentation | None:
    """What an experiment changes batch by batch on the device, None for nothing."""
    if config.backend != "device":
        return None
    return DeviceAugmentation(seed=seed, flip_order=flip_order, **config.model_dump(exclude={"backend"}))


def _move(
    augmenter: Any, image: NDArray[np.uint8], joints_crop_px: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """The moved image and joints, and the map (2, 3) that moved them."""
    # imgaug counts pixels as we do: the centre of the first one is at 0.5. It does not hand out what it drew, so
    # three points more are moved along.
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
