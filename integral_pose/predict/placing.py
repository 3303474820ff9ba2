"""Predicted joints of one person -> root-relative mm, px of the picture, and the root's position where it is known."""

from typing import NamedTuple

import numpy as np

from integral_pose.contracts import Array
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.coordinates import CropVolume, ImageVolume, root_relative
from integral_pose.geometry.crop import Rectangle
from integral_pose.geometry.placement import fit_root_to_box, fit_to_box, root_depth_by_bones, scale_by_bones
from integral_pose.geometry.root_depth import NEAREST_MM
from integral_pose.weights.model_file import ModelDescription

CropSpace = ImageVolume | CropVolume  # those whose x and y are pixels of the crop


class PlacedPose(NamedTuple):
    """The fields of a PersonPose that depend on the camera."""

    joints_camera_mm: Array  # (J, 3) root-relative
    joints_image_px: Array  # (J, 2)
    root_camera_mm: Array | None  # (3,)
    placement: str  # what was used: see docs/predict.md


def place_in_box(
    joints_camera_mm: Array, box_image_px: Array, camera: Camera | None, root_depth_mm: float | None
) -> PlacedPose:
    """A pose (J, 3) in mm without pixels: they are those that fill the box (4,)."""
    if camera is None:
        return PlacedPose(joints_camera_mm, fit_to_box(joints_camera_mm, box_image_px), None, "box")
    root_mm = fit_root_to_box(joints_camera_mm, box_image_px, camera, root_depth_mm)
    joints_px = camera.camera_to_image_px(joints_camera_mm + root_mm)
    placement = "box, intrinsics" if root_depth_mm is None else "box, root depth, intrinsics"
    return PlacedPose(joints_camera_mm, joints_px, root_mm, placement)


def place_in_crop(
    joints_norm: Array,
    rectangle: Rectangle,
    space: CropSpace,
    description: ModelDescription,
    camera: Camera | None,
    root_depth_mm: float | None,
) -> PlacedPose:
    """Joints (J, 3) norm of a crop's volume, which have pixels: mm by bone lengths or the root's depth."""
    skeleton, bone_length_mm = description.skeleton, description.bone_length_mm
    joints_px = rectangle.norm_to_image_px(joints_norm[:, :2])
    if isinstance(space, ImageVolume):
        depth_mm = joints_norm[:, 2] * space.depth_extent_mm
    else:
        depth_px = joints_norm[:, 2] * space.depth_extent_px
        depth_px *= rectangle.height_px / description.image_size[0]  # of the crop -> of the picture
        if camera is not None and root_depth_mm is not None:
            mm_per_px = root_depth_mm / float(camera.focal_px.mean())
        else:
            solid_px = np.column_stack([joints_px, depth_px])
            mm_per_px = scale_by_bones(solid_px, np.zeros_like(solid_px), skeleton.bones, bone_length_mm)
        depth_mm = depth_px * mm_per_px
    if camera is None:
        return _place_weakly(joints_px, depth_mm, description)
    placement = "root depth, intrinsics"
    if root_depth_mm is None:
        placement = "bone lengths, intrinsics"
        root_depth_mm = root_depth_by_bones(joints_px, depth_mm, skeleton.bones, bone_length_mm, camera)
    absolute_mm = camera.image_px_to_camera(joints_px, np.maximum(root_depth_mm + depth_mm, NEAREST_MM))
    return PlacedPose(root_relative(absolute_mm, skeleton.root), joints_px, absolute_mm[skeleton.root], placement)


def _place_weakly(joints_px: Array, depth_mm: Array, description: ModelDescription) -> PlacedPose:
    """Under weak perspective, for want of a camera."""
    flat_px = np.column_stack([joints_px, np.zeros_like(depth_mm)])
    deep_mm = np.column_stack([np.zeros_like(joints_px), depth_mm])
    mm_per_px = scale_by_bones(flat_px, deep_mm, description.skeleton.bones, description.bone_length_mm)
    joints_mm = root_relative(flat_px * mm_per_px + deep_mm, description.skeleton.root)
    return PlacedPose(joints_mm, joints_px, None, "bone lengths")
