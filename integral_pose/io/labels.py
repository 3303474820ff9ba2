"""The labels of a split, `annot/valid.h5` for instance: read and checked in one place, by NumPy and h5py alone.

Row i belongs to line i of the image list beside the file, `annot/valid_images.txt`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from integral_pose.errors import DataError
from integral_pose.geometry.body_size import require_mm
from integral_pose.geometry.label_axes import require_camera_axes
from integral_pose.geometry.sides import order_of_poses, to_human36m_order
from integral_pose.io.skeleton_file import SKELETON_FILE
from integral_pose.io.untrusted import find_dataset, open_hdf5, require_plain
from integral_pose.skeleton import HUMAN36M, Skeleton

CROP_PX, CAMERA_MM = "pose2d", "pose3d"


def image_list_of(label_path: Path) -> Path:
    """The list of the images that the rows belong to, which may not exist."""
    return label_path.with_name(f"{label_path.stem}_images.txt")


def stored_names(path: Path) -> set[str]:
    """What a label file has at its top: data sets, groups and links."""
    with open_hdf5(path) as file:
        return set(file)


def read_labels(
    path: Path, skeleton: Skeleton, joint_order: str, num_images: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
    """Joints (N, J, 2) px of the crop and (N, J, 3) mm in camera axes, in the official order (`geometry.sides`).

    The last is the order that the file has them in.

    Raises DataError naming the file where any of it is missing, of another shape or not finite, where the poses are not
    in mm (`geometry.body_size`), the two have other axes (`geometry.label_axes`), or `joint_order` and the poses
    contradict each other.
    """
    joints_crop_px = read_rows(path, CROP_PX, (skeleton.num_joints, 2), num_images)
    joints_camera_mm = read_poses_mm(path, skeleton, num_images)
    require_camera_axes(joints_crop_px, joints_camera_mm, str(path))
    order = stored_order(joints_camera_mm, skeleton, joint_order, path)
    return to_human36m_order(joints_crop_px, order), to_human36m_order(joints_camera_mm, order), order


def read_joints_camera_mm(path: Path, skeleton: Skeleton, joint_order: str) -> NDArray[np.float64]:
    """As `read_labels`, the joints in mm alone and in full precision, of however many images there are."""
    joints_camera_mm = read_poses_mm(path, skeleton, dtype=np.float64)
    return to_human36m_order(joints_camera_mm, stored_order(joints_camera_mm, skeleton, joint_order, path))


def read_poses_mm(
    path: Path, skeleton: Skeleton, num_images: int | None = None, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """(N, J, 3) as they are stored. Raises DataError as `read_rows`, and where they are not people's in mm."""
    joints_mm = read_rows(path, CAMERA_MM, (skeleton.num_joints, 3), num_images, dtype)
    require_mm(joints_mm, skeleton, str(path))
    return joints_mm


def stored_order(joints_camera_mm: NDArray[Any], skeleton: Skeleton, joint_order: str, path: Path) -> str:
    """'official' or 'c2f', the order of poses (N, J, 3) as a file has them. Raises DataError as `order_of_poses`."""
    if skeleton.names == HUMAN36M.names:
        return order_of_poses(joints_camera_mm, joint_order, str(path))
    if joint_order == "c2f":
        raise DataError(
            f"{path}: data.joint_order is c2f, which is an order of Human3.6M's joints, and these are others "
            f"({path.with_name(SKELETON_FILE)}); set it to auto"
        )
    return "official"


def read_rows(
    path: Path, key: str, row_shape: tuple[int, ...], num_rows: int | None = None, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """A data set (N, *row_shape) of finite numbers. Raises DataError saying what is there instead."""
    images = image_list_of(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; it holds the labels of the images in {images.name}")
    with open_hdf5(path) as file:
        dataset = find_dataset(file, key)
        if dataset is None:
            raise DataError(f"{path}: has no data set '{key}'; it has: {', '.join(file) or 'nothing'}")
        if dataset.shape[1:] != row_shape or not dataset.ndim:
            expected = ", ".join(map(str, (num_rows or "N", *row_shape)))
            hint = _joints_hint(path, dataset.shape, row_shape)
            raise DataError(f"{path}: '{key}' has the shape {dataset.shape}, expected ({expected}){hint}")
        if num_rows not in (None, len(dataset)):
            raise DataError(
                f"{path}: '{key}' has {len(dataset):,} rows, but {images} lists {num_rows:,} images; "
                "line i of the list belongs to row i"
            )
        require_plain(dataset, path)
        values: NDArray[Any] = np.asarray(dataset[...], dtype=dtype)
    bad_rows = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if len(bad_rows):
        raise DataError(
            f"{path}: '{key}' is NaN or infinite in {len(bad_rows):,} rows, the first is row {bad_rows[0]} "
            f"(line {bad_rows[0] + 1} of {images.name}); take these images out"
        )
    return values


def _joints_hint(path: Path, found: tuple[int, ...], row_shape: tuple[int, ...]) -> str:
    """What to change where labels of another number of joints are there; '' for other faults of the shape."""
    if len(found) != 3 or len(row_shape) != 2 or found[2] != row_shape[1] or found[1] == row_shape[0]:
        return ""
    skeleton_file = path.with_name(SKELETON_FILE)
    if skeleton_file.exists():
        return f": {skeleton_file} names {row_shape[0]} joints and these are {found[1]}"
    return f": these are not Human3.6M's {row_shape[0]} joints, so name them in {skeleton_file} (docs/data.md)"
