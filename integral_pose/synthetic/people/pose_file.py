"""Poses of a data set in the course layout, for other bodies in other rooms, and which of them can be had."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from integral_pose.contracts import Array
from integral_pose.errors import DataError
from integral_pose.geometry.camera import CAMERA_IDS, human36m_camera
from integral_pose.geometry.label_axes import require_camera_axes
from integral_pose.geometry.labelled_means import is_labelled
from integral_pose.geometry.sides import doubt_of_sides, to_human36m_order
from integral_pose.io.frame_names import parse_frame_name
from integral_pose.io.labels import (
    CAMERA_MM,
    CROP_PX,
    image_list_of,
    read_joints,
    read_poses_mm,
    read_rows,
    stored_names,
    stored_order,
)
from integral_pose.io.notices import notify
from integral_pose.io.readers import existing, read_lines
from integral_pose.io.skeleton_file import read_skeleton
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.people.body_data import load_body_data
from integral_pose.synthetic.people.rig import Hands, fit_error_mm, fit_rig
from integral_pose.synthetic.people.rotations import shortest
from integral_pose.synthetic.people.shapes import RestBody

UP = np.array([0.0, 0.0, 1.0])
OUT_OF_REACH_MM = 250.0  # a joint that misses its place by more
SHORTEST_BONE_MM = 10.0
MOST_TRIED = 1000  # 3 ms each
SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")  # with cameras


class PoseFile(NamedTuple):
    """Checked; the workers read it again."""

    path: Path
    order: str  # 'official' or 'c2f', in which it has the joints


class FittedPoses(NamedTuple):
    """How near the rig comes to the poses of a file."""

    num_tried: int
    num_out_of_reach: int
    mean_error_mm: float  # of the others


def check_pose_file(path: Path) -> PoseFile:
    """Raises DataError for whatever training would refuse, and where the joints are not Human3.6M's."""
    existing(path, "the file given as --poses")
    if path.is_dir() or CAMERA_MM not in stored_names(path):
        raise DataError(f"{path}: has no '{CAMERA_MM}'; --poses takes the .h5 of a set in the layout of docs/data.md")
    skeleton = read_skeleton(path.parent)
    if skeleton.names != HUMAN36M.names:
        raise DataError(
            f"{path}: its joints are {', '.join(skeleton.names)}; --poses takes Human3.6M's: "
            f"{', '.join(HUMAN36M.names)}"
        )
    names = image_list_of(path)
    poses_mm = read_poses_mm(path, HUMAN36M, len(read_lines(names)) if names.exists() else None)
    if CROP_PX in stored_names(path):
        joints_px = read_joints(path, CROP_PX, (HUMAN36M.num_joints, 2), len(poses_mm))
        if doubt := require_camera_axes(joints_px, poses_mm, str(path)):
            notify(doubt)
    order = stored_order(poses_mm, HUMAN36M, "auto", path)
    if doubt := doubt_of_sides(to_human36m_order(poses_mm, order), "auto", str(path)):
        notify(doubt)
    if not len(poses := read_poses(PoseFile(path, order))):
        raise DataError(f"{path}: none of its {len(poses_mm):,} poses has all joints and bones of any length")
    if left_out := len(poses_mm) - len(poses):
        notify(f"{path}: {left_out:,} of {len(poses_mm):,} poses left out: a joint has no label, or a bone no length")
    return PoseFile(path, order)


@lru_cache(maxsize=1)
def read_poses(file: PoseFile) -> Array:
    """(N, 17, 3) mm from the hip, those with all labels, z up where the camera of Human3.6M is known.

    Elsewhere up is against the camera's y.
    """
    poses = read_joints(file.path, CAMERA_MM, (HUMAN36M.num_joints, 3), dtype=np.float64)
    poses = to_human36m_order(poses, file.order)
    poses = poses - poses[:, :1]
    level = shortest(np.array([0.0, -1, 0]), UP)
    for row, axes in enumerate(_world_axes_of_rows(file.path, len(poses))):
        poses[row] = poses[row] @ (level if axes is None else axes).T
    child, parent = np.array(HUMAN36M.bones).T
    shortest_bone_mm = np.linalg.norm(poses[:, child] - poses[:, parent], axis=2).min(axis=1)
    usable: Array = poses[is_labelled(poses).all(axis=1) & (shortest_bone_mm > SHORTEST_BONE_MM)]
    return usable


def _world_axes_of_rows(path: Path, num_rows: int) -> list[Array | None]:
    """Camera axes -> Human3.6M's world, where the picture's name says the camera and its lens does not deny it."""
    if not image_list_of(path).exists():
        return [None] * num_rows
    axes: list[Array | None] = []
    lenses = read_rows(path, "camera", (9,), num_rows) if "camera" in stored_names(path) else [None] * num_rows
    for text, lens in zip(read_lines(image_list_of(path)), lenses, strict=True):
        name = parse_frame_name(text)
        if name is None or name.camera not in CAMERA_IDS or name.subject not in SUBJECTS:
            axes.append(None)
            continue
        to_world, focal_and_center_px = _camera(name.subject, name.camera)
        # Rendered pictures by other cameras keep the form of the name.
        denied = lens is not None and not np.allclose(lens[:4], focal_and_center_px, rtol=0.01)
        axes.append(None if denied else to_world)
    return axes


@lru_cache(maxsize=64)
def _camera(subject: str, camera_id: str) -> tuple[Array, Array]:
    camera = human36m_camera(subject, camera_id)
    return camera.rotation.T, np.concatenate([camera.focal_px, camera.principal_px])


def is_within_reach(error_mm: Array) -> bool:
    """Of the errors (17,) of a fit."""
    return bool(error_mm.max() < OUT_OF_REACH_MM)


def try_poses(file: PoseFile) -> FittedPoses:
    """On the mean body, at most MOST_TRIED of them. Raises DataError where it takes none."""
    data = load_body_data()
    body = RestBody(data.vertices_mm, data.heads_mm.astype(np.float64))
    poses = read_poses(file)
    rows = np.linspace(0, len(poses) - 1, min(len(poses), MOST_TRIED)).round().astype(np.intp)
    errors = [fit_error_mm(data, body, fit_rig(data, body, pose, Hands(), UP), pose) for pose in poses[rows]]
    taken = [error.mean() for error in errors if is_within_reach(error)]
    if not taken:
        raise DataError(
            f"{file.path}: none of {len(errors):,} poses can be had by the rig within {OUT_OF_REACH_MM:.0f} mm"
        )
    return FittedPoses(len(errors), len(errors) - len(taken), float(np.mean(taken)))
