"""Crop pixels and depths -> camera mm, and how views change when the pixels of a crop are moved. Torch, batched.

Small products are summed by hand: matrix multiplication would be rounded to bfloat16 under autocast, which is
several px of a picture, and to 10 bits on the tensor cores of a GPU.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from integral_pose.contracts import CropViews
from integral_pose.geometry.camera import distort
from integral_pose.geometry.constants_on_device import vector_like
from integral_pose.geometry.root_depth import root_depth_by_bone_length

UNDISTORTION_ROUNDS = 20  # the lens is mild: each round leaves less than a tenth of the error


def lift(joints_crop_px: Tensor, depth_mm: Tensor, views: CropViews) -> Tensor:
    """(B, J, 2) px of the crop and (B, J) depth from the root, mm -> (B, J, 3) mm in the axes of the labels.

    The origin is the true root joint; depths are along the labels' axes, as a network predicts them.
    """
    plane = crop_px_to_plane(joints_crop_px, views)
    # Augmentation turns about the optical axis, mirrors x and may stretch z, so z depends on z alone.
    depth_mm = depth_mm / views.label_axes[:, None, 2, 2] + views.root_camera_mm[:, None, 2]
    camera_mm = torch.cat([plane * depth_mm[..., None], depth_mm[..., None]], -1)
    return _transformed(camera_mm - views.root_camera_mm[:, None], views.label_axes)


def crop_px_to_plane(joints_crop_px: Tensor, views: CropViews) -> Tensor:
    """(B, J, 2) px of the crop -> (B, J, 2) x / z and y / z in camera axes, the lens undone."""
    image_px = _transformed(joints_crop_px, views.crop_to_image[:, :, :2]) + views.crop_to_image[:, None, :, 2]
    return _undistort((image_px - views.camera[:, None, 2:4]) / views.camera[:, None, :2], views.camera)


def crop_px_in_label_axes(joints_crop_px: Tensor, views: CropViews) -> Tensor:
    """(B, J, 2) px of the crop -> px of the picture before it, turned and mirrored as labels in mm are; no origin.

    So augmentation that scales or shifts the crop has no part in it.
    """
    return _transformed(joints_crop_px, _product(views.label_axes[:, :2, :2], views.crop_to_image[:, :, :2]))


def without_lens(views: CropViews) -> CropViews:
    """The views through a pinhole with the same focal lengths and principal point."""
    camera = views.camera.clone()
    camera[:, 4:] = 0
    return replace(views, camera=camera)


def at_root_depth(views: CropViews, root_depth_mm: float | Tensor) -> CropViews:
    """The views of persons that far away, a number or (B,) mm. Root-relative poses do not depend on the rest of it."""
    root_camera_mm = torch.zeros_like(views.root_camera_mm)
    root_camera_mm[:, 2] = root_depth_mm
    return replace(views, root_camera_mm=root_camera_mm)


def at_bone_length(
    joints_crop_px: Tensor,
    depth_mm: Tensor,
    views: CropViews,
    bones: Sequence[tuple[int, int]],
    total_bone_length_mm: float,
    root: int,
) -> CropViews:
    """The views with the depth at which the bones have that length; joints as for `lift`."""
    depth_mm = depth_mm / views.label_axes[:, None, 2, 2]
    plane = crop_px_to_plane(joints_crop_px, views)
    # `lift` counts depths from depth 0; the fit gives the depth of the predicted root.
    fitted_mm = root_depth_by_bone_length(plane, depth_mm, bones, total_bone_length_mm, root)
    return at_root_depth(views, fitted_mm - depth_mm[:, root])


def move_views(views: CropViews, moved: Tensor, label_axes: Tensor | None = None) -> CropViews:
    """The views once pixels are moved within the crop and the labels' axes are turned.

    moved (B, 2, 3): px of the crop before -> px after; label_axes (B, 3, 3): axes of the labels before -> after.
    """
    moved = moved.to(views.crop_to_image)
    linear = _product(views.crop_to_image[:, :, :2], inverse_2x2(moved[:, :, :2]))
    offset = views.crop_to_image[:, :, 2:] - _product(linear, moved[:, :, 2:])
    axes = views.label_axes if label_axes is None else _product(label_axes.to(views.label_axes), views.label_axes)
    return CropViews(views.camera, torch.cat([linear, offset], -1), views.root_camera_mm, axes)


def mirror_views(views: CropViews, width_px: int) -> CropViews:
    """The views of crops of `width_px` that were mirrored left to right, their labels too."""
    moved = vector_like(views.crop_to_image, (-1.0, 0, width_px, 0, 1, 0)).view(2, 3)
    axes = torch.diag(vector_like(moved, (-1.0, 1, 1)))
    return move_views(views, moved.expand(len(views.camera), 2, 3), axes.expand(len(views.camera), 3, 3))


def inverse_2x2(matrices: Tensor) -> Tensor:
    """(B, 2, 2) inverted by hand, since the library's inverse makes the host wait for the device."""
    a, b, c, d = matrices.flatten(1).unbind(-1)
    adjugate = torch.stack([d, -b, -c, a], -1).view(-1, 2, 2)
    return adjugate / (a * d - b * c)[:, None, None]


def _transformed(points: Tensor, matrices: Tensor) -> Tensor:
    """(B, J, n) points by (B, m, n) -> (B, J, m)."""
    return (points[:, :, None] * matrices[:, None]).sum(-1)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """(B, l, m) by (B, m, n) -> (B, l, n)."""
    return (left[..., None] * right[:, None]).sum(2)


def _undistort(distorted: Tensor, camera: Tensor) -> Tensor:
    """Points (B, J, 2) of the plane z = 1 seen through the lens -> where they are, by fixed-point iteration."""
    plane, lens = distorted, camera[:, 4:, None].unbind(1)
    for _ in range(UNDISTORTION_ROUNDS):
        x, y = plane.unbind(-1)
        plane = plane + distorted - torch.stack(distort(x, y, lens), -1)
    return plane
