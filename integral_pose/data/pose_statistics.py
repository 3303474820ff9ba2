"""What training poses are on average: mean.txt and std.txt of a set, or the poses themselves."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from integral_pose.data.course import PoseTable
from integral_pose.errors import DataError
from integral_pose.geometry.body_size import body_length_mm
from integral_pose.geometry.coordinates import root_relative
from integral_pose.geometry.labelled_means import mean_and_deviation
from integral_pose.geometry.sides import to_human36m_order
from integral_pose.io.labels import read_poses_mm, stored_order
from integral_pose.io.notices import notify
from integral_pose.io.readers import read_text
from integral_pose.io.skeleton_file import read_skeleton
from integral_pose.skeleton import Skeleton, joint_order

LARGEST_STATISTICS_BYTES = 100_000
LARGEST_DIFFERENCE_MM = 1.0  # between mean.txt and the mean of train.h5, which may have been rounded
LEAST_REACH_MM = 30.0  # of a mean pose's joints from the root; people's is hundreds


@dataclass(frozen=True, eq=False)
class PoseStatistics:
    """Mean and standard deviation of root-relative poses a joint and axis, (J, 3) mm; 0 deviation at the root."""

    mean_mm: NDArray[np.float32]
    std_mm: NDArray[np.float32]


def read_statistics(root: Path, joint_order: str = "auto") -> PoseStatistics:
    """Of the poses in train.h5, in official joint order; from mean.txt and std.txt where these are of the same poses.

    Without train.h5 the text files are all there is. Raises DataError where there is but one of the two.
    """
    skeleton = read_skeleton(root / "annot")
    labels, written = root / "annot" / "train.h5", _read_written(root, skeleton)
    if written is None or labels.exists():
        poses_mm = root_relative(read_poses_mm(labels, skeleton), skeleton.root)
        order = stored_order(poses_mm, skeleton, joint_order, labels)
        return _statistics(to_human36m_order(poses_mm, order), order, written, root)
    if (reach := np.abs(written[0]).max()) < LEAST_REACH_MM:
        raise DataError(f"{root}/annot/mean.txt: reaches {reach:.3g} from the root; are these metres? Expected mm")
    order = stored_order(written[0][None], skeleton, joint_order, labels)
    return PoseStatistics(*(to_human36m_order(values, order).astype(np.float32) for values in written))


def statistics_of(table: PoseTable, root: Path) -> PoseStatistics:
    """As `read_statistics`, of the training images that `read_train` has read: their labels are not read again."""
    return _statistics(table.joints_camera_mm, table.stored_order, _read_written(root, table.skeleton), root)


def _statistics(
    poses_mm: NDArray[np.float32],
    order: str,
    written: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    root: Path,
) -> PoseStatistics:
    """Of poses (N, J, 3) in the official order; what is `written` is in the `order` of the file."""
    statistics = mean_and_deviation(poses_mm.astype(np.float64, order="C"))
    if written is not None:
        # Sides can be told from poses, not from their deviations: the files are in the order of their train.h5.
        turned = to_human36m_order(written[0], order), to_human36m_order(written[1], order)
        statistics = turned if _agree(turned[0], statistics[0], root) else statistics
    return PoseStatistics(*(values.astype(np.float32) for values in statistics))


def _agree(written_mm: NDArray[np.float64], computed_mm: NDArray[np.float64], root: Path) -> bool:
    """Whether mean.txt is the mean pose of train.h5; said where it is not."""
    off_mm = float(np.abs(written_mm - computed_mm).max())
    if off_mm > LARGEST_DIFFERENCE_MM:
        notify(
            f"{root / 'annot' / 'mean.txt'}: is up to {off_mm:.4g} mm off the mean pose of train.h5, so it is of other "
            "data; mean and deviation are computed. Remove mean.txt and std.txt, or write them anew"
        )
    return off_mm <= LARGEST_DIFFERENCE_MM


def _read_written(root: Path, skeleton: Skeleton) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """What mean.txt and std.txt say, (J, 3) each in the order of their train.h5; None where there is neither."""
    paths = [root / "annot" / name for name in ("mean.txt", "std.txt")]
    present = [path for path in paths if path.exists()]
    if len(present) == 1:
        raise DataError(
            f"{present[0]}: mean.txt and std.txt belong together, and the other is missing; restore it, or remove "
            "this one and both are computed from train.h5"
        )
    if not present:
        return None
    mean_mm, std_mm = (_read_numbers(path, skeleton) for path in paths)
    if (std_mm < 0).any():
        raise DataError(f"{paths[1]}: holds {std_mm.min():g}, but a standard deviation is 0 or more; write it anew")
    return mean_mm, std_mm


def read_bone_length_mm(root: Path, skeleton: Skeleton) -> float | None:
    """All bones of `skeleton` together, the mean over the training poses; None without train.h5.

    Its joints are some of the set's; the legs are in whichever order.

    Raises DataError as `read_train` does of poses.
    """
    label_path = root / "annot" / "train.h5"
    if not label_path.exists():
        return None
    stored = read_skeleton(root / "annot")
    poses_mm = read_poses_mm(label_path, stored)[:, joint_order(stored.names, skeleton.names)]
    return float(body_length_mm(poses_mm, skeleton).mean())


def _read_numbers(path: Path, skeleton: Skeleton) -> NDArray[np.float64]:
    try:
        text = read_text(path, LARGEST_STATISTICS_BYTES)
        numbers = np.array([number for line in text.splitlines() for number in line.partition("#")[0].split()], float)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read as numbers: {error}") from None
    expected = skeleton.num_joints * 3
    if numbers.size != expected or not np.isfinite(numbers).all():
        raise DataError(f"{path}: expected {expected} finite numbers (joint by joint, x y z), found {numbers.size}")
    return numbers.reshape(skeleton.num_joints, 3)
