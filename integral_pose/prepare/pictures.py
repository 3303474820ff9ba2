"""Pictures of a source -> crops as JPEG bytes. Pixel i spans [i, i + 1], as `geometry.coordinates` says."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from integral_pose.errors import DataError
from integral_pose.geometry.crop import Crop
from integral_pose.untrusted import read_regular

Picture = NDArray[np.uint8]

JPEG_QUALITY = 90
LARGEST_PX = 64_000_000
OTHER_FORMATS = ("PNG", "WEBP", "BMP", "TIFF", "PPM")  # not all that Pillow knows: some start other programs


def read_picture(path: Path) -> Picture:
    """(H, W, 3) RGB. Raises DataError naming the file if it is missing or damaged."""
    try:
        encoded = read_regular(path)  # read first, decode from memory: decoders stumble over odd file names
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return decode_picture(encoded, str(path))


def decode_picture(encoded: bytes, source: str) -> Picture:
    """(H, W, 3) RGB of the bytes of an image file. Raises DataError naming `source` if they are damaged."""
    try:
        if encoded.startswith(b"\xff\xd8"):
            _require_size(*simplejpeg.decode_jpeg_header(encoded)[:2])
            return simplejpeg.decode_jpeg(encoded, "RGB")
        with Image.open(io.BytesIO(encoded), formats=OTHER_FORMATS) as picture:
            _require_size(*picture.size)
            return np.asarray(picture.convert("RGB"))
    except Exception as error:  # decoders raise ValueError, OSError, SyntaxError and more on damaged bytes
        raise DataError(f"{source}: is damaged or no image ({error}); fetch it again") from None


def _require_size(height_px: int, width_px: int) -> None:
    """By what the header says: a few bytes can claim a picture that fills the memory."""
    if height_px * width_px > LARGEST_PX:
        raise ValueError(f"{width_px} x {height_px} px, more than {LARGEST_PX / 1e6:.0f} million")


def encode_crop(picture: Picture, crop: Crop) -> bytes:
    """The crop of a picture (H, W, 3) as a JPEG of size_px x size_px."""
    resampled = np.ascontiguousarray(resample(picture, crop))
    return bytes(simplejpeg.encode_jpeg(resampled, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"))


def resample(picture: Picture, crop: Crop) -> Picture:
    """(H, W, 3) -> (size_px, size_px, 3), antialiased; black where the square leaves the picture."""
    # The filter looks one crop pixel beyond the square's edge, so that much of the surroundings comes along.
    margin_px = math.ceil(max(crop.scale, 1.0)) + 1
    left, top = math.floor(crop.left_px) - margin_px, math.floor(crop.top_px) - margin_px
    right = math.ceil(crop.left_px + crop.side_px) + margin_px
    bottom = math.ceil(crop.top_px + crop.side_px) + margin_px
    canvas = Image.fromarray(_cut(picture, left, top, right, bottom))
    box = (crop.left_px - left, crop.top_px - top)
    return np.asarray(
        canvas.resize(
            (crop.size_px, crop.size_px),
            Image.Resampling.BILINEAR,
            box=(*box, box[0] + crop.side_px, box[1] + crop.side_px),
        )
    )


def _cut(picture: Picture, left: int, top: int, right: int, bottom: int) -> Picture:
    """The rectangle of a picture in whole pixels, black outside of it."""
    height, width = picture.shape[:2]
    if min(left, top) >= 0 and right <= width and bottom <= height:
        return np.ascontiguousarray(picture[top:bottom, left:right])
    cut = np.zeros((bottom - top, right - left, 3), np.uint8)
    inner = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    if inner[0] < inner[2] and inner[1] < inner[3]:
        cut[inner[1] - top : inner[3] - top, inner[0] - left : inner[2] - left] = picture[
            inner[1] : inner[3], inner[0] : inner[2]
        ]
    return cut
