"""Person box -> crop: an affine map between the pixels of the picture and those of the crop.

Both sides count as in `coordinates`: pixel i spans [i, i + 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Points = TypeVar("Points", bound=NDArray[Any])

MARGIN_PX = 40.0  # of the picture of about 1000 px, both sides together
TIGHT_FACTOR = 1.25  # of 3DMPPE and Integral: side of the square over the larger side of the joints' box
POSENET_FACTOR = 1.5
C2F_FACTOR = 1.12  # what MARGIN_PX makes of people 340 px tall, as Human3.6M shows them
METRIC_SIDE_MM = 2000.0  # of Sun et al. 2018


@dataclass(frozen=True)
class Crop:
    """A square of the picture resampled to size_px x size_px pixels.

    left_px and top_px are its corner in the picture; scale is the length of one crop pixel in picture pixels.
    """

    left_px: float
    top_px: float
    scale: float
    size_px: int

    @property
    def side_px(self) -> float:
        """Length of the square's side in the picture."""
        return self.scale * self.size_px

    def image_px_to_crop_px(self, points_image_px: Points) -> Points:
        """(..., 2) px of the picture -> (..., 2) px of the crop."""
        corner = np.array([self.left_px, self.top_px], dtype=points_image_px.dtype)
        return (points_image_px - corner) / self.scale


@dataclass(frozen=True)
class Rectangle:
    """An upright rectangle of the picture, to be resampled to a crop of any size; left_px, top_px is its corner."""

    left_px: float
    top_px: float
    width_px: float
    height_px: float

    def norm_to_image_px(self, points_norm: Points) -> Points:
        """(..., 2) norm of the crop, which is the whole rectangle -> (..., 2) px of the picture."""
        corner = np.array([self.left_px, self.top_px], dtype=points_norm.dtype)
        size = np.array([self.width_px, self.height_px], dtype=points_norm.dtype)
        return corner + (points_norm + 0.5) * size

    def crop_to_image(self, height_px: int, width_px: int) -> NDArray[np.float64]:
        """(2, 3): image_px = crop_to_image @ (x, y, 1) of a crop of that size."""
        x, y = self.width_px / width_px, self.height_px / height_px
        return np.array([[x, 0, self.left_px], [0, y, self.top_px]])


def rectangle_round_box(
    box_image_px: Sequence[float] | NDArray[np.float64], box_scale: float, aspect: float
) -> Rectangle:
    """The smallest rectangle of that aspect (width over height) that holds a box x, y, w, h, times box_scale.

    Its middle is that of the box.
    """
    left, top, width, height = (float(number) for number in box_image_px)
    tall = max(height, width / aspect) * box_scale
    wide = tall * aspect
    return Rectangle(left + (width - wide) / 2, top + (height - tall) / 2, wide, tall)


def crop_c2f(joints_image_px: NDArray[np.float64], size_px: int) -> Crop:
    """The square round the tight box of the joints (J, 2), as in the coarse-to-fine release of Human3.6M.

    Its centre is the middle of that box, its side the larger side of the box plus 40 px of the picture.
    """
    middle_px, sides_px = tight_box(joints_image_px)
    return _square(middle_px, float(sides_px.max()) + MARGIN_PX, size_px)


def crop_tight(joints_image_px: NDArray[np.float64], size_px: int) -> Crop:
    """The square of 1.25 times the larger side of the tight box of the joints (J, 2), about that box's middle."""
    return crop_round(joints_image_px, TIGHT_FACTOR, size_px)


def crop_posenet(joints_image_px: NDArray[np.float64], size_px: int) -> Crop:
    """The square that 3DMPPE cuts out, about the middle of the tight box of the joints (J, 2).

    Its larger side less a pixel, times 1.2 as in its annotations, times 1.25 as when they are loaded.
    """
    middle_px, sides_px = tight_box(joints_image_px)
    return _square(middle_px, (float(sides_px.max()) - 1) * POSENET_FACTOR, size_px)


def crop_round(points_image_px: NDArray[np.float64], factor: float, size_px: int) -> Crop:
    """The square of `factor` times the larger side of the tight box of points (n, 2), about that box's middle."""
    middle_px, sides_px = tight_box(points_image_px)
    return _square(middle_px, float(sides_px.max()) * factor, size_px)


def crop_metric(
    root_image_px: NDArray[np.float64], root_depth_mm: float, focal_px: NDArray[np.float64], size_px: int
) -> Crop:
    """The square that is 2 m wide at the root's depth, about the projected root (2,); Sun et al. 2018.

    The two focal lengths (2,) differ by a thousandth; their mean keeps the crop square in the picture.
    """
    return _square(root_image_px, METRIC_SIDE_MM * float(np.mean(focal_px)) / root_depth_mm, size_px)


def tight_box(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(J, 2) -> the middle and the sides of their tight box, each (2,)."""
    lower, upper = points.min(axis=0), points.max(axis=0)
    return (lower + upper) / 2, upper - lower


def _square(center_px: NDArray[np.float64], side_px: float, size_px: int) -> Crop:
    left_px, top_px = (float(middle) - side_px / 2 for middle in center_px)
    return Crop(left_px, top_px, side_px / size_px, size_px)
