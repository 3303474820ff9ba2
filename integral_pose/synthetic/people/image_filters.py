"""OpenCV's filters by what they do; it is imported when one is called, since it changes the environment."""

import numpy as np
from numpy.typing import NDArray

from integral_pose.synthetic.ray_casting import Array32


def box_blur(plane: Array32, side_px: int) -> Array32:
    """The mean of a square round each pixel."""
    import cv2

    return np.asarray(cv2.blur(plane, (side_px, side_px)), np.float32)


def gaussian_blur(picture: Array32, sigma_px: float) -> Array32:
    """(H, W) or (H, W, 3)."""
    import cv2

    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px), np.float32)


def convolve(picture: Array32, kernel: Array32) -> Array32:
    """(H, W, 3) with one kernel for all channels."""
    import cv2

    return np.asarray(cv2.filter2D(picture, -1, kernel), np.float32)


def resize(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """A square (H, W, 3) at another size: means where it shrinks, linear where it grows."""
    import cv2

    way = cv2.INTER_AREA if side_px < len(picture) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side_px, side_px), interpolation=way), np.uint8)
