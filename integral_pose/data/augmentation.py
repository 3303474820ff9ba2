"""Random augmentation of raw training images. Each augmenter draws from a random stream of its own.

A stream is fixed by (seed, epoch, sample, augmenter), so an augmented image depends neither on the number of workers
nor on the other augmenters, and a resumed run sees the images that it would have seen.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from integral_pose.config.augmentation_section import AugmentationConfig
from integral_pose.contracts import PoseSample, SampleKey
from integral_pose.data import draws
from integral_pose.data.device_augmentation import GREY_WEIGHTS, DeviceAugmentation, erased_box
from integral_pose.data.draws import draw_uniform, in_range, integer_in_range
from integral_pose.errors import ConfigError
from integral_pose.io.images import Picture

# Colour augmenters by their key in the configuration: the value that changes nothing, and (imgaug.augmenters, range) ->
# augmenter. They are applied in this order, and their random streams are numbered by it: append new ones, so that the
# draws of the others stay the same.
COLOUR_AUGMENTERS: dict[str, tuple[float, Callable[[Any, tuple[float, ...]], Any]]] = {
    "hue_saturation": (0, lambda augmenters, bounds: augmenters.AddToHueAndSaturation(bounds)),
    "contrast": (1, lambda augmenters, bounds: augmenters.LinearContrast(bounds)),
    "brightness": (1, lambda augmenters, bounds: augmenters.Multiply(bounds, per_channel=True)),
}


def desaturate(image: Picture, bounds: Sequence[float], uniform: NDArray[np.float64]) -> Picture:
    """Blended towards its grey (ITU-R BT.601): share 1 is a grey picture."""
    share = np.float32(in_range(uniform, bounds)[0])
    grey = image @ (share * np.array(GREY_WEIGHTS, np.float32))
    return np.rint(image * (1 - share) + grey[..., None]).astype(np.uint8)


def blur(image: Picture, bounds: Sequence[float], uniform: NDArray[np.float64]) -> Picture:
    """Convolved with a Gaussian, its standard deviation in px; beyond the border the picture is reflected."""
    sigma_px = in_range(uniform, bounds)[0]
    size_px = 2 * math.ceil(3 * sigma_px) + 1  # imgaug's own choice cuts off at half of that
    blurred: Picture = _import_imgaug().augmenters.blur_gaussian_(image.copy(), sigma_px, size_px)
    return blurred


def erase(image: Picture, probability: float, uniform: NDArray[np.float64]) -> Picture:
    """With a rectangle in one colour over it, where one is drawn (random erasing, Zhong et al. 2020)."""
    if uniform[0] >= probability:
        return image
    height, width = image.shape[:2]
    box = erased_box(uniform[None, 1:5])[0] * [width, height, width, height]
    left, top, right, bottom = np.ceil(box - 0.5).astype(int)  # the pixels whose centres are inside
    erased = image.copy()
    erased[top:bottom, left:right] = uniform[5:8] * 256
    return erased


def compress_jpeg(image: Picture, bounds: Sequence[int], uniform: NDArray[np.float64]) -> Picture:
    """As a JPEG file of quality 100 less what is drawn gives it back; colours at half resolution, as cameras do."""
    quality = 100 - int(integer_in_range(uniform, bounds)[0])
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420")
    decoded: Picture = simplejpeg.decode_jpeg(encoded, "RGB")
    return decoded


class PixelAugmenter(NamedTuple):
    """An augmenter of our own that leaves every pixel where it is; a setting of zeros changes nothing."""

    stream: int
    num_draws: int
    change: Callable[[Picture, Any, NDArray[np.float64]], Picture]  # image, setting, draws (n,) in [0, 1) -> image


# By their key in the configuration; applied in this order after the colours. What the device backend has too draws the
# same numbers there.
PIXEL_AUGMENTERS = {
    "desaturation": PixelAugmenter(draws.DESATURATION, 1, desaturate),
    "blur_px": PixelAugmenter(draws.BLUR, 1, blur),
    "erase": PixelAugmenter(draws.ERASE, 8, erase),
    "jpeg": PixelAugmenter(draws.JPEG, 1, compress_jpeg),
}


# One sample augmented; labels in pixels move with the image.
Augmentation = Callable[[PoseSample, SampleKey], PoseSample]


def stream_seed(seed: int, key: SampleKey, stream: int) -> int:
    """128-bit seed of one augmenter for one sample."""
    words = np.random.SeedSequence([seed, key.epoch, key.row, stream]).generate_state(4, np.uint32)
    return int.from_bytes(words.tobytes(), "little")


class ImgaugAugmentation:
    """The augmenters of Pantalos & Rudin 2019, in imgaug: shift and scale, hue and saturation, contrast, brightness.

    Then those of PIXEL_AUGMENTERS. `translate_percent` is a range on each axis; the literal constant of that report's
    code is [0.05, 0.05]. `settings` are those of COLOUR_AUGMENTERS and PIXEL_AUGMENTERS; of the latter, what is
    absent is not done. 2D labels move with the image, 3D labels are mirrored with it (probability `flip`; `flip_order`
    lists for each joint its mirror image), and their depth is scaled with `scale_depth` (see `device_augmentation`).
    """

    def __init__(
        self,
        *,
        seed: int,
        translate_percent: Sequence[float],
        scale: Sequence[float],
        flip: float = 0.0,
        flip_order: Sequence[int] = (),
        scale_depth: bool = False,
        **settings: Any,
    ) -> None:
        augmenters = _import_imgaug().augmenters
        shift, zoom = tuple(translate_percent), tuple(scale)
        self.seed, self.scale_depth = seed, scale_depth
        self.flip, self.flip_order = flip, list(flip_order)
        self.moves = any(shift) or zoom != (1, 1)
        self.affine = augmenters.Affine(translate_percent={"x": shift, "y": shift}, scale={"x": zoom, "y": zoom})
        self.colours = {
            stream: make(augmenters, tuple(settings[name]))
            for stream, (name, (unchanged, make)) in enumerate(COLOUR_AUGMENTERS.items(), start=1)
            if tuple(settings[name]) != (unchanged, unchanged)
        }
        self.pixels = [(PIXEL_AUGMENTERS[n], settings[n]) for n in PIXEL_AUGMENTERS if np.any(settings.get(n, 0))]

    def __call__(self, sample: PoseSample, key: SampleKey) -> PoseSample:
        """The augmented sample."""
        image, joints_crop_px, moved = sample.image, sample.joints_crop_px, np.eye(2, 3, dtype=np.float32)
        if self.moves:
            self._reseed(self.affine, key, 0)
            image, joints_crop_px, moved = _move(self.affine, image, joints_crop_px)
        depth_scale = np.sqrt(moved[0, 0] * moved[1, 1]) if self.scale_depth else 1
        label_axes = np.diag([1, 1, depth_scale]).astype(np.float32)
        found = PoseSample(
            sample.index, image, sample.joints_camera_mm * label_axes.diagonal(), joints_crop_px, moved, label_axes
        )
        if self.flip and self._draw(key, draws.FLIP, 1)[0] < self.flip:
            found = mirror(found, self.flip_order)
        found.image = self._change_pixels(found.image, key)
        return found

    def _change_pixels(self, image: Picture, key: SampleKey) -> Picture:
        for stream, augmenter in self.colours.items():
            self._reseed(augmenter, key, stream)
            image = augmenter.augment_image(image)
        for pixel_augmenter, setting in self.pixels:
            uniform = self._draw(key, pixel_augmenter.stream, pixel_augmenter.num_draws)
            image = pixel_augmenter.change(image, setting, uniform)
        return image

    def _draw(self, key: SampleKey, stream: int, number: int) -> NDArray[np.float64]:
        """(number,) in [0, 1)."""
        return draw_uniform(self.seed, key.epoch, np.array([key.row]), stream, number)[0]

    def _reseed(self, augmenter: Any, key: SampleKey, stream: int) -> None:
        generator = np.random.Generator(np.random.PCG64(stream_seed(self.seed, key, stream)))
        augmenter.random_state = _import_imgaug().random.RNG(generator)


def mirror(sample: PoseSample, flip_order: Sequence[int]) -> PoseSample:
    """The sample seen in a mirror: left is right in the picture, in both labels and in the names of the joints."""
    width, order = sample.image.shape[1], list(flip_order)
    to_left = np.array([-1, 1, 1], np.float32)
    mirrored_px = sample.joints_crop_px[order] * to_left[:2] + np.array([width, 0], np.float32)
    return PoseSample(
        sample.index,
        np.ascontiguousarray(sample.image[:, ::-1]),
        sample.joints_camera_mm[order] * to_left,
        mirrored_px,
        sample.moved * to_left[:2, None] + np.array([[0, 0, width], [0, 0, 0]], np.float32),
        sample.label_axes * to_left[:, None],
    )


def build_augmentation(config: AugmentationConfig, seed: int, flip_order: Sequence[int]) -> Augmentation | None:
    """The augmentation of single images where they are loaded; None: there is none."""
    if config.backend != "imgaug":
        return None
    keys = {"translate_percent", "scale", "scale_depth", "flip", *COLOUR_AUGMENTERS, *PIXEL_AUGMENTERS}
    return ImgaugAugmentation(seed=seed, flip_order=flip_order, **config.model_dump(include=keys))


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
        import cv2  # heavy, and needed by this backend alone
        import imgaug
    except ImportError as error:
        raise ConfigError(
            f"data.augmentation.backend imgaug: the package cannot be imported ({error}); install its maintained "
            "fork with 'pip install imaug', or set data.augmentation.backend to none"
        ) from None
    # Before OpenCV starts threads of its own: a forked worker would have their pool without the threads, and wait for
    # them for ever. One process a core works on images, so they would only be in the way.
    cv2.setNumThreads(1)
    return imgaug
