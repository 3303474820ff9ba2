"""Where a pose stands: scale, depth and pixels of a person of whom a network tells a part. NumPy, a person at a time.

A metric pose knows its millimetres and no pixels, so it is fitted to the person's box. A pose of the image volume
knows its pixels and no distance, so it is moved until its bones have the length of a mean person's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from integral_pose.errors import DataError
from integral_pose.geometry.camera import Array, Camera
from integral_pose.geometry.root_depth import NEAREST_MM, scale_by_bone_length

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
    middle_mm, sides_mm = _tight_box(flat_mm)
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
    scale = _scale_of_sides(_tight_box(joints_camera_mm[:, :2])[1], box_image_px[2:])
    free_depth = root_depth_mm is None
    depth_mm = float(camera.focal_px.mean()) / max(scale, 1e-9) if root_depth_mm is None else root_depth_mm
    root_mm = camera.image_px_to_camera(_middle(box_image_px), max(depth_mm, nearest_mm))
    for _ in range(ROUNDS):
        middle_px, sides_px = _tight_box(camera.camera_to_image_px(joints_camera_mm + root_mm))
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
    """How far the root is, mm, so that joints (J, 2) with depths (J,) from the root have that total bone length."""
    plane = camera.image_px_to_camera(joints_image_px, 1.0)  # (J, 3), z = 1
    rays = np.concatenate([plane[:, :2], np.zeros_like(plane[:, :1])], -1)
    offsets_mm = plane * depth_mm[:, None]
    return scale_by_bones(rays, offsets_mm, bones, bone_length_mm, least=NEAREST_MM - float(depth_mm.min()))


def scale_by_bones(
    variable: Array, fixed_mm: Array, bones: Sequence[tuple[int, int]], bone_length_mm: float, least: float = 0.0
) -> float:
    """`scale_by_bone_length` of one person (J, 3). Raises DataError where no s changes anything."""
    found = scale_by_bone_length(
        torch.from_numpy(variable)[None],
        torch.from_numpy(fixed_mm)[None],
        bones,
        bone_length_mm,
        torch.tensor([least], dtype=torch.float64),
    ).item()
    if math.isnan(found):
        raise DataError("all joints of a person were found at one point, so no length can be told; was it trained?")
    return found


def _middle(box_image_px: Array) -> Array:
    middle: Array = box_image_px[:2] + box_image_px[2:] / 2
    return middle


def _tight_box(points: Array) -> tuple[Array, Array]:
    """(J, 2) -> the middle and the sides of their tight box, each (2,)."""
    lower, upper = points.min(axis=0), points.max(axis=0)
    return (lower + upper) / 2, upper - lower


def _scale_of_sides(sides: Array, wanted: Array) -> float:
    """The factor that brings both sides (2,) nearest to the wanted ones; 1 for a point, which no factor changes."""
    square = float((sides * sides).sum())
    return float((sides * wanted).sum()) / square if square > 0 else 1.0
