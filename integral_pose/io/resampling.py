"""Pictures -> resampled crops, and these as JPEG bytes. Pixel i spans [i, i + 1], as `geometry.coordinates` says."""

import math
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

from integral_pose.geometry.crop import Crop, Rectangle
from integral_pose.io.images import Picture

JPEG_QUALITY = 90
LONGEST_WHOLE = 2.0  # rectangles longer than this many pictures are not laid out whole


def encode_crop(picture: Picture, crop: Crop) -> bytes:
    """The crop of a picture (H, W, 3) as a JPEG of size_px x size_px."""
    resampled = np.ascontiguousarray(resample(picture, crop))
    return bytes(simplejpeg.encode_jpeg(resampled, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"))


def resample(picture: Picture, crop: Crop) -> Picture:
    """(H, W, 3) -> (size_px, size_px, 3), antialiased; black where the square leaves the picture."""
    square = Rectangle(crop.left_px, crop.top_px, crop.side_px, crop.side_px)
    return resample_rectangle(picture, square, crop.size_px, crop.size_px)


def resample_rectangle(picture: Picture, rectangle: Rectangle, height_px: int, width_px: int) -> Picture:
    """(H, W, 3) -> (height_px, width_px, 3), antialiased; black where the rectangle leaves the picture.

    Takes memory by the size of the picture, however far the rectangle reaches beyond it.
    """
    columns = _covered(rectangle.left_px, rectangle.width_px, width_px, picture.shape[1])
    rows = _covered(rectangle.top_px, rectangle.height_px, height_px, picture.shape[0])
    crop = np.zeros((height_px, width_px, 3), np.uint8)
    if columns.cells and rows.cells:
        canvas = Image.fromarray(_cut(picture, columns.first_px, rows.first_px, columns.last_px, rows.last_px))
        resized = canvas.resize(
            (len(columns.cells), len(rows.cells)),
            Image.Resampling.BILINEAR,
            box=(columns.start_px, rows.start_px, columns.end_px, rows.end_px),
        )
        crop[rows.cells.start : rows.cells.stop, columns.cells.start : columns.cells.stop] = np.asarray(resized)
    return crop


class _Covered(NamedTuple):
    """Along one axis: the pixels of a crop that see the picture, and the pixels of the picture that they need."""

    cells: range
    first_px: int  # whole px of the picture to cut out, which may lie outside of it
    last_px: int
    start_px: float  # where the cells begin and end within what is cut out
    end_px: float


def _covered(corner_px: float, length_px: float, num_cells: int, picture_px: int) -> _Covered:
    scale = length_px / num_cells
    # The filter looks one crop pixel beyond a cell's edge, so that much of the surroundings comes along.
    reach_px = max(scale, 1.0)
    first, last = 0, num_cells
    if length_px > LONGEST_WHOLE * picture_px:
        first = max(0, math.floor((-reach_px - corner_px) / scale))
        last = min(num_cells, math.ceil((picture_px + reach_px - corner_px) / scale))
    start_px, end_px = corner_px + first * scale, corner_px + last * scale
    margin_px = math.ceil(reach_px) + 1
    first_px, last_px = math.floor(start_px) - margin_px, math.ceil(end_px) + margin_px
    return _Covered(range(first, last), first_px, last_px, start_px - first_px, end_px - first_px)


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
