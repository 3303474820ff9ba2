"""Random changes to a raw training image. Each augmenter draws from a stream of its own.

A stream is fixed by (seed, epoch, sample, augmenter), so a picture does not depend on the number of workers
or on the other augmenters, and a run that is continued sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from integral_pose.config import AugmentationConfig
from integral_pose.contracts import PoseSample, SampleKey
from integral_pose.errors import ConfigError


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
    range on each axis; the literal constant of that report's code is [0.05, 0.05]. With the metric volume the
    3D labels do not move with the picture; the 2D ones do.
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
    ) -> None:
        augmenters = _import_imgaug().augmenters
        shift, zoom = tuple(translate_percent), tuple(scale)
        self.seed = seed
        self.augmenters = [
            augmenters.Affine(translate_percent={"x": shift, "y": shift}, scale={"x": zoom, "y": zoom}),
            augmenters.AddToHueAndSaturation(tuple(hue_saturation)),
            augmenters.LinearContrast(tuple(contrast)),
            augmenters.Multiply(tuple(brightness), per_channel=True),
        ]

    def __call__(self, sample: PoseSample, key: SampleKey) -> PoseSample:
        """The changed sample."""
        image, joints_crop_px = sample.image, sample.joints_crop_px
        for stream, augmenter in enumerate(self.augmenters):
            generator = np.random.Generator(np.random.PCG64(stream_seed(self.seed, key, stream)))
            augmenter.random_state = _import_imgaug().random.RNG(generator)
            image, joints_crop_px = _apply(augmenter, image, joints_crop_px, moves_joints=stream == 0)
        return PoseSample(sample.index, image, sample.joints_camera_mm, joints_crop_px)


def build_augmentation(config: AugmentationConfig, seed: int) -> Augmentation | None:
    """The augmentation of an experiment, None for no change."""
    if config.backend == "none":
        return None
    return ImgaugAugmentation(seed=seed, **config.model_dump(exclude={"backend"}))


def _apply(
    augmenter: Any, image: NDArray[np.uint8], joints_crop_px: NDArray[np.float32], *, moves_joints: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    if not moves_joints:
        return augmenter.augment_image(image), joints_crop_px
    # imgaug counts pixels as we do: the centre of the first one is at 0.5.
    keypoints = _import_imgaug().augmentables.kps.KeypointsOnImage.from_xy_array(joints_crop_px, shape=image.shape)
    image, keypoints = augmenter(image=image, keypoints=keypoints)
    return image, keypoints.to_xy_array().astype(np.float32)


def _import_imgaug() -> Any:
    try:
        import imgaug  # heavy, and needed by this backend alone
    except ImportError as error:
        raise ConfigError(
            f"data.augmentation.backend imgaug: the package cannot be imported ({error}); install its maintained "
            "fork with 'pip install imaug', or set data.augmentation.backend to none"
        ) from None
    return imgaug
