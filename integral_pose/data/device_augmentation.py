"""Augmentation of whole batches on their device: the augmenters of `augmentation` but JPEG, and rotation.

Parameters are drawn where the samples are loaded, one row of numbers a sample; applying them draws nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from integral_pose.contracts import PoseBatch
from integral_pose.data import draws
from integral_pose.data.draws import draw_uniform, in_range, integer_in_range
from integral_pose.geometry.constants_on_device import joints_in_order, vector_like
from integral_pose.geometry.lifting import inverse_2x2, move_views

# Columns of the drawn parameters (B, 21).
SHIFT = slice(0, 2)  # x, y as fractions of the image's sides
SCALE = slice(2, 4)  # x, y
ROTATION = 4  # radians, clockwise in the image
FLIP = 5  # 0 or 1
HUE = 6  # added, 0..180 scale
SATURATION = 7  # added, 0..255 scale
CONTRAST = 8  # factor around CONTRAST_CENTER
BRIGHTNESS = slice(9, 12)  # factors of red, green, blue
ERASED = slice(12, 16)  # left, top, right, bottom as fractions of the image's sides; no area: nothing is erased
ERASED_COLOUR = slice(16, 19)  # 0..255
DESATURATION = 19  # share of grey
BLUR = 20  # standard deviation in px
NUM_CHANGES = 21

CONTRAST_CENTER = 127.0  # of imgaug
HALF_UP = 0.5 + 2e-4  # interpolated levels are multiples of 1/1024 up to float rounding, so exact halves round up
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green, blue in luma
ERASED_SHARE = (0.02, 0.2)  # of the image's area
ERASED_ASPECT = (0.3, 1 / 0.3)  # Zhong et al. 2020


@dataclass(frozen=True)
class DeviceAugmentation:
    """Draws the parameters of each sample, and applies them to a batch.

    `rotation_share`, `flip` and `erase` are probabilities, `rotation` degrees. `flip_order` lists for each joint its
    mirror image.
    3D labels are rotated and mirrored with the image; with `scale_depth` their depth is scaled by the (geometric) mean
    of both image scales, which makes sense where x and y are pixels (image volume) and nowhere else.
    """

    seed: int
    translate_percent: Sequence[float]
    scale: Sequence[float]
    hue_saturation: Sequence[int]
    contrast: Sequence[float]
    brightness: Sequence[float]
    rotation: Sequence[float]
    rotation_share: float
    flip: float
    desaturation: Sequence[float]
    blur_px: Sequence[float]
    erase: float
    scale_depth: bool
    flip_order: Sequence[int]

    def draw(self, epoch: int, rows: NDArray[np.int64]) -> Tensor:
        """(B, 21) float32, the parameters of some rows of the table in an epoch; see the columns above."""
        changes = np.zeros((len(rows), NUM_CHANGES))

        def draw(stream: int, number: int = 1) -> NDArray[np.float64]:
            return draw_uniform(self.seed, epoch, rows, stream, number)

        affine, turn, erase = draw(draws.AFFINE, 4), draw(draws.ROTATION, 2), draw(draws.ERASE, 8)
        changes[:, SHIFT] = in_range(affine[:, :2], self.translate_percent)
        changes[:, SCALE] = in_range(affine[:, 2:], self.scale)
        changes[:, SATURATION] = integer_in_range(draw(draws.COLOUR)[:, 0], self.hue_saturation)
        changes[:, HUE] = np.trunc(changes[:, SATURATION] / 255 * 180)  # one value for both, as imgaug draws it
        changes[:, CONTRAST] = in_range(draw(draws.CONTRAST)[:, 0], self.contrast)
        changes[:, BRIGHTNESS] = in_range(draw(draws.BRIGHTNESS, 3), self.brightness)
        changes[:, ROTATION] = np.deg2rad(in_range(turn[:, 0], self.rotation)) * (turn[:, 1] < self.rotation_share)
        changes[:, FLIP] = draw(draws.FLIP)[:, 0] < self.flip
        changes[:, DESATURATION] = in_range(draw(draws.DESATURATION)[:, 0], self.desaturation)
        changes[:, BLUR] = in_range(draw(draws.BLUR)[:, 0], self.blur_px)
        changes[:, ERASED] = erased_box(erase[:, 1:5]) * (erase[:, :1] < self.erase)
        changes[:, ERASED_COLOUR] = np.floor(erase[:, 5:8] * 256)
        return torch.from_numpy(changes.astype(np.float32))

    def __call__(self, batch: PoseBatch) -> PoseBatch:
        """The augmented batch, pixels and labels; the same batch where no parameters were drawn."""
        return self.change_pixels(self.change_labels(batch))

    def change_pixels(self, batch: PoseBatch) -> PoseBatch:
        """The batch with its images augmented and no parameters left; its labels are changed already."""
        if batch.changes is None:
            return batch
        moved = crop_to_changed_crop(batch.changes, *batch.images.shape[-2:])
        pixels = self._pixels_at_once if batch.images.device.type == "cuda" else self._pixels_plainly
        return replace(batch, images=pixels(batch.images, moved, batch.changes), changes=None)

    def _pixels_at_once(self, images: Tensor, moved: Tensor, changes: Tensor) -> Tensor:
        from integral_pose.data.triton_pixels import change_pixels  # a package that only CUDA builds bring

        blurs = self.blur_px[1] > 0
        back = torch.cat(source_of_pixels(moved), -1)
        images = change_pixels(
            images, back, changes, desaturates=self.desaturation[1] > 0, erases=self.erase > 0 and not blurs
        )
        return self._blur_and_erase(images, changes) if blurs else images

    def _pixels_plainly(self, images: Tensor, moved: Tensor, changes: Tensor) -> Tensor:
        images = change_colours(warp(images, moved), changes)
        if self.desaturation[1] > 0:
            images = desaturate(images, changes[:, DESATURATION])
        return self._blur_and_erase(images, changes)

    def change_labels(self, batch: PoseBatch) -> PoseBatch:
        """The batch with the labels that its images will have: cheap, and done where samples are loaded."""
        changes = batch.changes
        if changes is None:
            return batch
        moved = crop_to_changed_crop(changes, *batch.images.shape[-2:])
        axes = label_axes(changes, scale_depth=self.scale_depth)
        is_flipped = (changes[:, FLIP] > 0)[:, None, None]
        joints_camera_mm, joints_crop_px = (
            torch.where(is_flipped, joints_in_order(joints, self.flip_order), joints)
            for joints in (batch.joints_camera_mm, batch.joints_crop_px)
        )
        return replace(
            batch,
            joints_camera_mm=joints_camera_mm @ axes.mT,
            joints_crop_px=joints_crop_px @ moved[:, :, :2].mT + moved[:, None, :, 2],
            views=None if batch.views is None else move_views(batch.views, moved, axes),
        )

    def _blur_and_erase(self, images: Tensor, changes: Tensor) -> Tensor:
        """What is off by default; uint8 (B, 3, H, W)."""
        if self.blur_px[1] > 0:
            images = blur(images, changes[:, BLUR], self.blur_px[1])
        return erase(images, changes) if self.erase > 0 else images


def crop_to_changed_crop(changes: Tensor, height: int, width: int) -> Tensor:
    """(B, 2, 3): px of the crop -> px of the augmented crop: scaled, rotated, flipped about the centre, then shifted.

    Rotated in fractions of the sides, so that a crop that was resized to a rectangle rotates as the square it was.
    """
    cosine, sine = changes[:, ROTATION].cos(), changes[:, ROTATION].sin()
    turn = torch.stack([cosine, -sine, sine, cosine], -1).view(-1, 2, 2)
    mirror = torch.stack([1 - 2 * changes[:, FLIP], torch.ones_like(cosine)], -1)
    linear = mirror[:, :, None] * turn * changes[:, None, SCALE]
    # The shift is that of the image before the flip: the same draws with a flip give the mirror image.
    shift = 0.5 + changes[:, SHIFT] * mirror - linear.sum(-1) / 2
    sides = vector_like(linear, (width, height))
    linear = linear * (sides[:, None] / sides)
    return torch.cat([linear, (shift * sides)[:, :, None]], -1)


def label_axes(changes: Tensor, *, scale_depth: bool) -> Tensor:
    """(B, 3, 3): camera axes -> axes of the augmented labels. Left and right joints are swapped by the caller."""
    cosine, sine = changes[:, ROTATION].cos(), changes[:, ROTATION].sin()
    axes = changes.new_zeros(len(changes), 3, 3)
    mirror = 1 - 2 * changes[:, FLIP]
    axes[:, 0, 0], axes[:, 0, 1] = mirror * cosine, -mirror * sine
    axes[:, 1, 0], axes[:, 1, 1] = sine, cosine
    axes[:, 2, 2] = changes[:, SCALE].prod(-1).sqrt() if scale_depth else 1
    return axes


def source_of_pixels(moved: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 2, 2) and (B, 2, 1): index of a pixel of the augmented crop -> index in the crop, linear part and offset."""
    back = inverse_2x2(moved[:, :, :2])
    return back, (back @ (0.5 - moved[:, :, 2:])) - 0.5


def warp(images: Tensor, moved: Tensor) -> Tensor:
    """(B, 3, H, W) transformed by (B, 2, 3): bilinear, black outside; float32 0..255 rounded to integer levels.

    Source coordinates are rounded as OpenCV rounds them, to 1/1024 px in each term and to 1/32 px in the sum: half a
    level of difference would become many in the colour augmentation.
    """
    height, width = images.shape[-2:]
    back, first = source_of_pixels(moved)
    origin = first.mT  # (B, 1, 2) index in the source of the first pixel
    x, y = (torch.arange(n, device=moved.device, dtype=moved.dtype)[:, None] for n in (width, height))
    along_x = (x * back[:, None, :, 0] * 1024).round_()  # (B, W, 2)
    along_y = ((y * back[:, None, :, 1] + origin) * 1024).round_()  # (B, H, 2)
    index = (along_y[:, :, None] + (along_x[:, None] + 16)).div_(32).floor_()  # (B, H, W, 2) in 1/32 px
    # grid_sample's coordinates span [-1, 1] over the image's area.
    grid = index.add_(16).mul_(2 / 32 / vector_like(moved, (width, height))).sub_(1)
    floats = images.to(memory_format=torch.contiguous_format, dtype=torch.float32)
    return (
        F.grid_sample(floats, grid, mode="bilinear", padding_mode="zeros", align_corners=False).add_(HALF_UP).floor_()
    )


def change_colours(levels: Tensor, changes: Tensor) -> Tensor:
    """(B, 3, H, W) RGB integer levels -> uint8: hue and saturation, then contrast, then brightness, as in imgaug.

    Each step ends in integer levels, as imgaug's do: one step of hue is up to 8 levels of a colour.
    """
    levels = shift_hue_and_saturation(levels, changes[:, HUE], changes[:, SATURATION])
    factor = changes[:, CONTRAST, None, None, None]
    levels = (CONTRAST_CENTER + factor * (levels - CONTRAST_CENTER)).clamp_(0, 255).trunc_()
    return (levels * changes[:, BRIGHTNESS, None, None]).clamp_(0, 255).to(torch.uint8)


def shift_hue_and_saturation(levels: Tensor, hue: Tensor, saturation: Tensor) -> Tensor:
    """(B, 3, H, W) RGB integer levels with (B,) added in OpenCV's 8-bit HSV (hue 0..179); float32 integer levels."""
    red, green, blue = levels.unbind(1)
    value, which = levels.max(1)
    chroma = value - levels.amin(1)
    sector = torch.where(
        which == 0, green - blue, torch.where(which == 1, blue - red + 2 * chroma, red - green + 4 * chroma)
    )
    # OpenCV divides by multiplying with 12-bit reciprocals, which rounds one quotient in fifty the other way.
    h = (sector * (30 * 4096 / chroma.clamp(min=1)).round_()).add_(2048).div_(4096).floor_()
    s = (chroma * (255 * 4096 / value.clamp(min=1)).round_()).add_(2048).div_(4096).floor_()
    h = (h + hue[:, None, None]).remainder_(180) / 30
    s = (s + saturation[:, None, None]).clamp_(0, 255) / 255
    # Each channel falls from value to value * (1 - s) over one of six sectors, each with its own phase.
    channels = []
    for phase in (5, 3, 1):
        k = (h + phase).remainder_(6)
        channels.append(value - value * s * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, 1).add_(1e-3).floor_()  # OpenCV truncates; the thousandth covers float rounding


def desaturate(images: Tensor, share: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) RGB blended towards their grey (ITU-R BT.601) by (B,) shares: 1 is a grey picture."""
    levels = images.float()
    grey = (levels * vector_like(levels, GREY_WEIGHTS)[:, None, None]).sum(1, keepdim=True)
    return torch.lerp(levels, grey, share[:, None, None, None]).round_().to(torch.uint8)


def blur(images: Tensor, sigma_px: Tensor, largest_px: float) -> Tensor:
    """uint8 (B, 3, H, W) convolved with Gaussians of (B,) standard deviations; beyond the border nothing counts.

    The Gaussians end at four times `largest_px`, the largest deviation there can be.
    """
    B, C, H, W = images.shape
    radius = math.ceil(4 * largest_px)
    at = torch.arange(-radius, radius + 1, device=sigma_px.device, dtype=sigma_px.dtype)
    weights = torch.exp(-0.5 * (at / sigma_px.clamp(min=1e-3)[:, None]) ** 2).repeat_interleave(C, 0)  # (B C, taps)
    planes = images.float().reshape(1, B * C, H, W)
    planes = F.conv2d(planes, weights[:, None, :, None], padding=(radius, 0), groups=B * C)
    planes = F.conv2d(planes, weights[:, None, None], padding=(0, radius), groups=B * C).view(B, C, H, W)
    inside_y, inside_x = (_weight_inside(weights[::C], length, radius) for length in (H, W))
    return planes.div_(inside_y[:, None, :, None] * inside_x[:, None, None]).round_().to(torch.uint8)


def _weight_inside(weights: Tensor, length: int, radius: int) -> Tensor:
    """(B, length): how much of a Gaussian (B, taps) round each pixel of a row lies within the row."""
    return F.conv1d(weights.new_ones(1, 1, length), weights[:, None], padding=radius)[0]


def erase(images: Tensor, changes: Tensor) -> Tensor:
    """(B, 3, H, W) with each image's drawn rectangle in one colour (random erasing, Zhong et al. 2020)."""
    height, width = images.shape[-2:]
    left, top, right, bottom = changes[:, ERASED, None].unbind(1)
    x, y = (torch.arange(n, device=images.device) + 0.5 for n in (width, height))
    columns = (x >= left * width) & (x < right * width)  # (B, W)
    rows = (y >= top * height) & (y < bottom * height)
    colour = changes[:, ERASED_COLOUR, None, None].to(images.dtype)
    return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], colour, images)


def erased_box(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, 4) in [0, 1) -> left, top, right, bottom as fractions of the sides."""
    area = in_range(uniform[:, 0], ERASED_SHARE)
    aspect = np.exp(in_range(uniform[:, 1], [math.log(bound) for bound in ERASED_ASPECT]))
    sides = np.minimum(np.sqrt(np.stack([area * aspect, area / aspect], -1)), 1)
    corner = uniform[:, 2:4] * (1 - sides)
    return np.concatenate([corner, corner + sides], -1)
