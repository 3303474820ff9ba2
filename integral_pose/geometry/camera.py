"""World, camera and image: rigid motion and Human3.6M's lens model, each conversion beside its inverse.

World axes: z up, mm. Camera axes: x right, y down, z forward, mm. Image: px, x right, y down.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from integral_pose.contracts import Array

CAMERA_IDS = ("54138969", "55011271", "58860488", "60457274")
_ARRAYS = {  # fields of Camera -> keys of human36m_cameras.json
    "rotation": "R", "center_world_mm": "T", "focal_px": "f", "principal_px": "c", "radial": "k", "tangential": "p"
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera.

    rotation (3, 3) turns world axes into camera axes; center_world_mm (3,); focal_px and principal_px (2,);
    radial (3,) and tangential (2,) are the lens coefficients in the order of Human3.6M's metadata.
    """

    rotation: Array
    center_world_mm: Array
    focal_px: Array
    principal_px: Array
    radial: Array
    tangential: Array
    width_px: int
    height_px: int

    def world_to_camera(self, points_world_mm: Array) -> Array:
        """(..., 3) mm in world axes -> (..., 3) mm in camera axes."""
        return (points_world_mm - self.center_world_mm) @ self.rotation.T

    def camera_to_world(self, points_camera_mm: Array) -> Array:
        """(..., 3) mm in camera axes -> (..., 3) mm in world axes."""
        return points_camera_mm @ self.rotation + self.center_world_mm

    def camera_to_image_px(self, points_camera_mm: Array) -> Array:
        """(..., 3) mm in camera axes, z > 0 -> (..., 2) px, lens distortion included."""
        plane = points_camera_mm[..., :2] / points_camera_mm[..., 2:]
        return self._distort(plane) * self.focal_px + self.principal_px

    def image_px_to_camera(self, points_image_px: Array, depth_mm: Array | float) -> Array:
        """(..., 2) px and their depth (...) mm -> (..., 3) mm in camera axes."""
        plane = self._undistort((points_image_px - self.principal_px) / self.focal_px)
        depth_mm = np.broadcast_to(np.asarray(depth_mm, dtype=np.float64), plane.shape[:-1])[..., None]
        return np.concatenate([plane * depth_mm, depth_mm], axis=-1)

    def _distort(self, plane: Array) -> Array:
        """Points on the plane z = 1 -> the same plane seen through the lens."""
        lens = (*self.radial, *self.tangential)
        return np.stack(distort(plane[..., 0], plane[..., 1], lens), axis=-1)

    def _undistort(self, distorted: Array) -> Array:
        """Inverse of `_distort` by fixed-point iteration; the lens is mild, 30 rounds reach rounding."""
        lens = (*self.radial, *self.tangential)
        to_x, to_y = (distorted[..., axis].copy() for axis in range(2))  # in one piece each, which is faster
        x, y = to_x.copy(), to_y.copy()
        for _ in range(30):
            seen_x, seen_y = distort(x, y, lens)
            x += to_x - seen_x
            y += to_y - seen_y
        return np.stack([x, y], axis=-1)


def distort(x: Any, y: Any, lens: Sequence[Any]) -> tuple[Any, Any]:
    """x / z and y / z of points -> the same seen through the lens k1, k2, k3, p1, p2; arrays or tensors.

    Human3.6M counts the tangential term once inside the radial factor, where OpenCV counts it twice:
    the difference is up to 0.2 px near the person and 1 px at the border.
    """
    k1, k2, k3, p1, p2 = lens
    r2 = x * x + y * y
    factor = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)) + p1 * y + p2 * x
    return x * factor + p2 * r2, y * factor + p1 * r2


@cache
def human36m_camera(subject: str, camera_id: str) -> Camera:
    """The calibrated camera of a Human3.6M subject ('S1' .. 'S11') in mm and px."""
    text = resources.files("integral_pose.geometry").joinpath("human36m_cameras.json").read_text("utf-8")
    numbers = json.loads(text)["cameras"][subject][camera_id]
    arrays: dict[str, Any] = {field: np.array(numbers[key]) for field, key in _ARRAYS.items()}
    return Camera(**arrays, width_px=numbers["w"], height_px=numbers["h"])
