"""Of the training poses: mean and deviation a joint, and the length of all bones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from integral_pose.data.course import read_train
from integral_pose.errors import DataError
from integral_pose.geometry.sides import to_human36m_order
from integral_pose.io.labels import CAMERA_MM, read_rows, stored_order
from integral_pose.io.untrusted import read_regular
from integral_pose.skeleton import HUMAN36M, Skeleton

LARGEST_STATISTICS_BYTES = 100_000


@dataclass(frozen=True, eq=False)
class PoseStatistics:
    """Mean and standard deviation of root-relative poses a joint and axis, (J, 3) mm; 0 deviation at the root."""

    mean_mm: NDArray[np.float32]
    std_mm: NDArray[np.float32]


def read_statistics(root: Path, skeleton: Skeleton = HUMAN36M, joint_order: str = "auto") -> PoseStatistics:
    """mean.txt and std.txt, or the same numbers computed from train.h5 where there is neither; official joint order.

    Raises DataError where there is but one of the two, which would not belong together with computed numbers.
    """
    paths = [root / "annot" / name for name in ("mean.txt", "std.txt")]
    present = [path for path in paths if path.exists()]
    if len(present) == 1:
        raise DataError(
            f"{present[0]}: mean.txt and std.txt belong together, and the other is missing; restore it, or remove "
            "this one and both are computed from train.h5"
        )
    if present:
        mean_mm, std_mm = (_read_numbers(path, skeleton) for path in paths)
        if (std_mm < 0).any():
            raise DataError(f"{paths[1]}: holds {std_mm.min():g}, but a standard deviation is 0 or more; write it anew")
        # Sides can be told from poses, not from their deviations: the files are in the order of their train.h5.
        labels = root / "annot" / "train.h5"
        poses_mm = read_rows(labels, CAMERA_MM, mean_mm.shape) if labels.exists() else mean_mm[None]
        order = stored_order(poses_mm, skeleton, joint_order, labels)
        mean_mm, std_mm = to_human36m_order(mean_mm, order), to_human36m_order(std_mm, order)
    else:
        joints_camera_mm = read_train(root, skeleton, joint_order).joints_camera_mm.astype(np.float64)
        mean_mm, std_mm = joints_camera_mm.mean(0), joints_camera_mm.std(0)
    return PoseStatistics(mean_mm.astype(np.float32), std_mm.astype(np.float32))


def read_bone_length_mm(root: Path, skeleton: Skeleton = HUMAN36M) -> float | None:
    """All bones together, the mean over the training poses, in whichever order their legs are; None without train.h5.

    Raises DataError as `read_train` does of poses.
    """
    label_path = root / "annot" / "train.h5"
    if not label_path.exists():
        return None
    poses_mm = read_rows(label_path, CAMERA_MM, (skeleton.num_joints, 3))
    children, parents = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    lengths_mm = np.linalg.norm(poses_mm[:, children] - poses_mm[:, parents], axis=-1)
    return float(lengths_mm.sum(-1, dtype=np.float64).mean())


def _read_numbers(path: Path, skeleton: Skeleton) -> NDArray[np.float64]:
    try:
        text = read_regular(path, LARGEST_STATISTICS_BYTES).decode("utf-8")
        numbers = np.array([number for line in text.splitlines() for number in line.partition("#")[0].split()], float)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read as numbers: {error}") from None
    expected = skeleton.num_joints * 3
    if numbers.size != expected or not np.isfinite(numbers).all():
        raise DataError(f"{path}: expected {expected} finite numbers (joint by joint, x y z), found {numbers.size}")
    return numbers.reshape(skeleton.num_joints, 3)
