"""Poses of a data set in the course layout, for other bodies in other rooms, and which of them can be had."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.errors import DataError
from integral_pose.geometry.camera import CAMERA_IDS, human36m_camera
from integral_pose.io.frame_names import parse_frame_name
from integral_pose.io.readers import existing, read_hdf5, read_lines, require_shape
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.people.body_data import load_body_data
from integral_pose.synthetic.people.rig import Hands, fit_error_mm, fit_rig
from integral_pose.synthetic.people.rotations import shortest
from integral_pose.synthetic.people.shapes import RestBody

UP = np.array([0.0, 0.0, 1.0])
OUT_OF_REACH_MM = 250.0  # a joint that misses its place by more
SHORTEST_BONE_MM = 10.0


class FittedPoses(NamedTuple):
    """Rows of a file that the rig can take, and how near it comes to them."""

    rows: NDArray[np.intp]
    mean_error_mm: float
    num_passed_over: int


@lru_cache(maxsize=1)
def read_poses(file: Path) -> Array:
    """(N, 17, 3) mm from the hip, z up where the picture's name says which camera of Human3.6M took it.

    Elsewhere up is against the camera's y. Raises DataError where the file has no such poses.
    """
    content = read_hdf5(existing(file, "the file given as --poses"), ("pose3d",))
    if "pose3d" not in content:
        raise DataError(f"{file}: has no 'pose3d'; --poses takes the .h5 of a set in the layout of docs/data.md")
    poses = content["pose3d"]
    require_shape(poses, (None, HUMAN36M.num_joints, 3), f"{file}: 'pose3d'")
    list_path = file.with_name(f"{file.stem}_images.txt")
    names = read_lines(list_path) if list_path.exists() else []
    level = shortest(np.array([0.0, -1, 0]), UP)
    poses = poses.astype(np.float64) - poses[:, :1]
    for row in range(len(poses)):
        name = parse_frame_name(names[row]) if len(names) == len(poses) else None
        known = name is not None and name.camera in CAMERA_IDS and name.subject in _SUBJECTS
        to_level = _world_axes(name.subject, name.camera) if name and known else level
        poses[row] = poses[row] @ to_level.T
    return poses


_SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")


@lru_cache(maxsize=64)
def _world_axes(subject: str, camera_id: str) -> Array:
    return human36m_camera(subject, camera_id).rotation.T


def fit_poses(file: Path) -> FittedPoses:
    """Try all poses on the mean body."""
    data = load_body_data()
    body = RestBody(data.vertices_mm, data.heads_mm.astype(np.float64))
    poses = read_poses(file)
    errors = np.full(len(poses), np.inf)
    child, parent = np.array(HUMAN36M.bones).T
    sound = np.linalg.norm(poses[:, child] - poses[:, parent], axis=2).min(axis=1) > SHORTEST_BONE_MM
    worst = np.full(len(poses), np.inf)
    for row in np.flatnonzero(sound):
        error = fit_error_mm(data, body, fit_rig(data, body, poses[row], Hands(), UP), poses[row])
        errors[row], worst[row] = error.mean(), error.max()
    rows = np.flatnonzero(worst < OUT_OF_REACH_MM)
    if not len(rows):
        raise DataError(
            f"{file}: none of its {len(poses):,} poses can be had by the rig within {OUT_OF_REACH_MM:.0f} mm"
        )
    return FittedPoses(rows, float(errors[rows].mean()), len(poses) - len(rows))
