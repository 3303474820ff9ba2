"""Scale, depth and pixels of a person from a predicted pose. NumPy, a person at a time.

A pose in the metric volume has millimetres and no pixels, so it is fitted to the person's box. One in the image volume
has pixels and no distance, so it is moved until its bones have the length of a mean person's.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from integral_pose.contracts import Array
from integral_pose.errors import DataError
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.crop import tight_box
from integral_pose.geometry.root_depth import NEAREST_MM, root_depth_by_bone_length, scale_by_bone_length

ROUNDS = 100  # of fixed points: each gains a bit or more


def pinhole(intrinsics: Sequence[float], width_px: int, height_px: int) -> Camera:
    """The camera at the origin with fx, fy, cx, cy in px and no lens distortion."""
    fx, fy, cx, cy = (float(number) for number in intrinsics)
    return Camera(np.eye(3), np.zeros(3), np.array([fx, fy]), np.array([cx, cy]), np.zeros(3), np.zeros(2),
                  width_px, height_px)  # fmt: skip


def fit_to_box(joints_camera_mm: Array, box_image_px: Array) -> Array:
    """(J, 2) px: x and y of a pose (J, 3) under weak perspective, its tight box laid over the box x, y, w, h.

    One scale for both axes, of the least squares between the sides of both boxes; their middles coincide.
    """
    flat_mm = joints_camera_mm[:, :2]
    middle_mm, sides_mm = tight_box(flat_mm)
    scale = _scale_of_sides(sides_mm, box_image_px[2:])
    fitted_px: Array = (flat_mm - middle_mm) * scale + _middle(box_image_px)
    return fitted_px


def fit_root_to_box(
    joints_camera_mm: Array, box_image_px: Array, camera: Camera, root_depth_mm: float | None = None
) -> Array:
    """(3,) mm from the camera to the origin of a pose (J, 3), so that its picture has the box x, y, w, h.

    As `fit_to_box`, in full perspective. With `root_depth_mm` only the middles are made to coincide.
    """
    nearest_mm = NEAREST_MM - float(joints_camera_mm[:, 2].min())
    scale = _scale_of_sides(tight_box(joints_camera_mm[:, :2])[1], box_image_px[2:])
    free_depth = root_depth_mm is None
    depth_mm = float(camera.focal_px.mean()) / max(scale, 1e-9) if root_depth_mm is None else root_depth_mm
    root_mm = camera.image_px_to_camera(_middle(box_image_px), max(depth_mm, nearest_mm))
    for _ in range(ROUNDS):
        middle_px, sides_px = tight_box(camera.camera_to_image_px(joints_camera_mm + root_mm))
        if free_depth:
            root_mm[2] = max(root_mm[2] / _scale_of_sides(sides_px, box_image_px[2:]), nearest_mm)
        root_mm[:2] += (_middle(box_image_px) - middle_px) / camera.focal_px * root_mm[2]
    return root_mm


def root_depth_by_bones(
    joints_image_px: Array,
    depth_mm: Array,
    bones: Sequence[tuple[int, int]],
    bone_length_mm: float,
    camera: Camera,
) -> float:
    """The distance in mm that, added to the depths (J,) of joints (J, 2), makes the bones that long together."""
    plane = torch.from_numpy(camera.image_px_to_camera(joints_image_px, 1.0)[None, :, :2])
    fitted_mm = root_depth_by_bone_length(plane, torch.from_numpy(depth_mm)[None], bones, bone_length_mm, root=0)
    return _require_length(fitted_mm) - float(depth_mm[0])


def scale_by_bones(variable: Array, fixed_mm: Array, bones: Sequence[tuple[int, int]], bone_length_mm: float) -> float:
    """`scale_by_bone_length` of one person (J, 3), at least 0. Raises DataError where no s changes anything."""
    points, fixed = torch.from_numpy(variable)[None], torch.from_numpy(fixed_mm)[None]
    return _require_length(scale_by_bone_length(points, fixed, bones, bone_length_mm, points.new_zeros(1)))


def _require_length(fitted: torch.Tensor) -> float:
    if math.isnan(fitted.item()):
        raise DataError("all joints of a person were found at one point, so no length can be told; was it trained?")
    return fitted.item()


def _middle(box_image_px: Array) -> Array:
    middle: Array = box_image_px[:2] + box_image_px[2:] / 2
    return middle


def _scale_of_sides(sides: Array, wanted: Array) -> float:
    """The factor that brings both sides (2,) nearest to the wanted ones; 1 for a point, which no factor changes."""
    square = float((sides * sides).sum())
    return float((sides * wanted).sum()) / square if square > 0 else 1.0
