"""The augmentation of pixels on CUDA as one kernel: one read and one write of each image.

`device_augmentation` is its plain reference, from which it differs where a rounding of float32 does.
"""

# Triton gives the arguments of these functions their types.
# mypy: disable-error-code="no-untyped-def"

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024  # pixels of a program
# Columns of the drawn parameters, as device_augmentation has them.
_HUE, _SATURATION, _CONTRAST, _BRIGHTNESS = map(tl.constexpr, (6, 7, 8, 9))
_ERASED, _ERASED_COLOUR, _DESATURATION = map(tl.constexpr, (12, 16, 19))


def change_pixels(images: Tensor, back: Tensor, changes: Tensor, *, erases: bool, desaturates: bool) -> Tensor:
    """uint8 (B, 3, H, W) warped, coloured, with `desaturates` greyed, with `erases` covered; channels last in memory.

    back (B, 2, 3): index of a pixel (x, y, 1) -> index in the source; changes (B, P), the drawn parameters.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    result = torch.empty_like(images)
    batch, _, height, width = images.shape
    blocks = triton.cdiv(height * width, _BLOCK)
    with torch.cuda.device_of(images):
        _change_pixels[(batch * blocks,)](
            images, back.contiguous(), changes.contiguous(), result, blocks, changes.shape[1],
            HEIGHT=height, WIDTH=width, BLOCK=_BLOCK, ERASES=erases, DESATURATES=desaturates,
            num_warps=4, enable_fp_fusion=True,
        )  # fmt: skip
    return result


@triton.jit
def _change_pixels(
    images, backs, changes, result, blocks, num_changes,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, ERASES: tl.constexpr, DESATURATES: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(0) // blocks
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    exists = pixel < HEIGHT * WIDTH
    own = changes + sample * num_changes
    image = images + sample.to(tl.int64) * (3 * HEIGHT * WIDTH)
    x, y = (pixel % WIDTH).to(tl.float32), (pixel // WIDTH).to(tl.float32)
    levels = _sampled(image, backs + sample * 6, x, y, exists, HEIGHT, WIDTH)
    levels = _shift_hue_and_saturation(levels, tl.load(own + _HUE), tl.load(own + _SATURATION))
    contrast = tl.load(own + _CONTRAST)
    red = _brightened(levels[0], contrast, tl.load(own + _BRIGHTNESS))
    green = _brightened(levels[1], contrast, tl.load(own + _BRIGHTNESS + 1))
    blue = _brightened(levels[2], contrast, tl.load(own + _BRIGHTNESS + 2))
    if DESATURATES:
        grey, share = 0.299 * red + 0.587 * green + 0.114 * blue, tl.load(own + _DESATURATION)
        red = tl.floor(red + share * (grey - red) + 0.5)
        green = tl.floor(green + share * (grey - green) + 0.5)
        blue = tl.floor(blue + share * (grey - blue) + 0.5)
    if ERASES:
        left, top = tl.load(own + _ERASED) * WIDTH, tl.load(own + _ERASED + 1) * HEIGHT
        right, bottom = tl.load(own + _ERASED + 2) * WIDTH, tl.load(own + _ERASED + 3) * HEIGHT
        erased = (x + 0.5 >= left) & (x + 0.5 < right) & (y + 0.5 >= top) & (y + 0.5 < bottom)
        red = tl.where(erased, tl.load(own + _ERASED_COLOUR), red)
        green = tl.where(erased, tl.load(own + _ERASED_COLOUR + 1), green)
        blue = tl.where(erased, tl.load(own + _ERASED_COLOUR + 2), blue)
    to = result + sample.to(tl.int64) * (3 * HEIGHT * WIDTH) + pixel * 3
    tl.store(to, red.to(tl.uint8), mask=exists)
    tl.store(to + 1, green.to(tl.uint8), mask=exists)
    tl.store(to + 2, blue.to(tl.uint8), mask=exists)


@triton.jit
def _rounded(number):
    return tl.floor(number + 0.5)


@triton.jit
def _sampled(image, back, x, y, exists, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Integer levels, bilinear, black outside; coordinates are rounded as in the reference."""
    at_x = _rounded((y * tl.load(back + 1) + tl.load(back + 2)) * 1024) + _rounded(x * tl.load(back) * 1024)
    at_y = _rounded((y * tl.load(back + 4) + tl.load(back + 5)) * 1024) + _rounded(x * tl.load(back + 3) * 1024)
    # In 1/32 px, held where nothing of the picture is in reach.
    at_x = tl.minimum(tl.maximum(tl.floor((at_x + 16) / 32), -64.0), 32.0 * WIDTH + 64)
    at_y = tl.minimum(tl.maximum(tl.floor((at_y + 16) / 32), -64.0), 32.0 * HEIGHT + 64)
    left, top = tl.floor(at_x / 32), tl.floor(at_y / 32)
    right_share, low_share = at_x / 32 - left, at_y / 32 - top
    column, row = left.to(tl.int32), top.to(tl.int32)
    red, green, blue = x * 0.0, x * 0.0, x * 0.0
    for down in tl.static_range(2):
        for across in tl.static_range(2):
            share = (low_share if down else 1 - low_share) * (right_share if across else 1 - right_share)
            inside = (column + across >= 0) & (column + across < WIDTH) & (row + down >= 0) & (row + down < HEIGHT)
            source = image + ((row + down) * WIDTH + column + across) * 3
            red += share * tl.load(source, mask=exists & inside, other=0).to(tl.float32)
            green += share * tl.load(source + 1, mask=exists & inside, other=0).to(tl.float32)
            blue += share * tl.load(source + 2, mask=exists & inside, other=0).to(tl.float32)
    return _rounded(red), _rounded(green), _rounded(blue)  # multiples of 1/1024, exact


@triton.jit
def _shift_hue_and_saturation(levels, hue, saturation):
    """As shift_hue_and_saturation of the reference."""
    red, green, blue = levels
    value = tl.maximum(tl.maximum(red, green), blue)
    chroma = value - tl.minimum(tl.minimum(red, green), blue)
    sector = tl.where(green == value, blue - red + 2 * chroma, red - green + 4 * chroma)
    sector = tl.where(red == value, green - blue, sector)
    h = tl.floor((sector * _rounded(122880.0 / tl.maximum(chroma, 1.0)) + 2048) / 4096)
    s = tl.floor((chroma * _rounded(1044480.0 / tl.maximum(value, 1.0)) + 2048) / 4096)
    h += hue
    h = (h - 180 * tl.floor(h / 180)) / 30
    s = tl.minimum(tl.maximum(s + saturation, 0.0), 255.0) / 255
    return _channel(value, s, h + 5), _channel(value, s, h + 3), _channel(value, s, h + 1)


@triton.jit
def _channel(value, s, k):
    k -= 6 * tl.floor(k / 6)
    return tl.floor(value - value * s * tl.minimum(tl.maximum(tl.minimum(k, 4 - k), 0.0), 1.0) + 1e-3)


@triton.jit
def _brightened(level, contrast, brightness):
    level = tl.floor(tl.minimum(tl.maximum(127.0 + contrast * (level - 127.0), 0.0), 255.0))
    return tl.floor(tl.minimum(tl.maximum(level * brightness, 0.0), 255.0))
