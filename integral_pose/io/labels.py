"""The labels of a split, `annot/valid.h5` for instance: read and checked in one place, by NumPy and h5py alone.

Row i belongs to line i of the image list beside the file, `annot/valid_images.txt`. A joint without a label is NaN, as
in the file or as its column `visible` (N, J) says, where 0 is for no label; what the file has in its place is not read.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from integral_pose.errors import DataError
from integral_pose.geometry.body_size import require_mm
from integral_pose.geometry.label_axes import require_camera_axes
from integral_pose.geometry.labelled_means import is_labelled
from integral_pose.geometry.sides import order_of_poses, to_human36m_order
from integral_pose.io.notices import notify
from integral_pose.io.skeleton_file import SKELETON_FILE
from integral_pose.io.untrusted import find_dataset, open_hdf5, require_plain
from integral_pose.io.unwritten_labels import refuse_zeros
from integral_pose.skeleton import HUMAN36M, Skeleton

CROP_PX, CAMERA_MM, VISIBLE = "pose2d", "pose3d", "visible"


def image_list_of(label_path: Path) -> Path:
    """The list of the images that the rows belong to, which may not exist."""
    return label_path.with_name(f"{label_path.stem}_images.txt")


def stored_names(path: Path) -> set[str]:
    """What a label file has at its top: data sets, groups and links."""
    with open_hdf5(path) as file:
        return set(file)


def read_labels(
    path: Path, skeleton: Skeleton, joint_order: str, label_axes: str, num_images: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
    """Joints (N, J, 2) px of the crop and (N, J, 3) mm in camera axes, in the official order (`geometry.sides`).

    The last is the order that the file has them in. A file without the column of joints in mm has labels in px alone:
    all of those in mm are NaN.

    Raises DataError naming the file where any of it is missing, of another shape or infinite, or 0 as unlabelled joints
    are (`io.unwritten_labels`), where the poses are not in mm (`geometry.body_size`), the two have other axes
    (`geometry.label_axes`; 'camera' overrules it), or `joint_order` and the poses contradict each other.
    """
    joints_crop_px = read_joints(path, CROP_PX, (skeleton.num_joints, 2), num_images)
    refuse_zeros(joints_crop_px, CROP_PX, skeleton, str(path))
    if CAMERA_MM not in stored_names(path):
        order = "c2f" if joint_order == "c2f" else "official"  # which nothing but poses in mm can tell
        unknown_mm = np.full((num_images, skeleton.num_joints, 3), np.nan, np.float32)
        return to_human36m_order(joints_crop_px, order), unknown_mm, order
    joints_camera_mm = read_poses_mm(path, skeleton, num_images)
    if doubt := require_camera_axes(joints_crop_px, joints_camera_mm, str(path), label_axes):
        notify(doubt)
    order = stored_order(joints_camera_mm, skeleton, joint_order, path)
    return to_human36m_order(joints_crop_px, order), to_human36m_order(joints_camera_mm, order), order


def read_joints_camera_mm(path: Path, skeleton: Skeleton, joint_order: str) -> NDArray[np.float64]:
    """As `read_labels`, the joints in mm alone and in full precision, of however many images there are."""
    joints_camera_mm = read_poses_mm(path, skeleton, dtype=np.float64)
    return to_human36m_order(joints_camera_mm, stored_order(joints_camera_mm, skeleton, joint_order, path))


def read_poses_mm(
    path: Path, skeleton: Skeleton, num_images: int | None = None, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """(N, J, 3) as they are stored. Raises DataError as `read_labels`."""
    joints_mm = read_joints(path, CAMERA_MM, (skeleton.num_joints, 3), num_images, dtype)
    if len(joints_mm) and not is_labelled(joints_mm).any():
        raise DataError(f"{path}: no joint of any row of '{CAMERA_MM}' is labelled; a test set without labels has none")
    refuse_zeros(joints_mm, CAMERA_MM, skeleton, str(path), root=skeleton.root)
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


def read_joints(
    path: Path, key: str, row_shape: tuple[int, int], num_rows: int | None = None, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """(N, J, axes) NaN on all axes where there is no label. Raises DataError as `read_rows`, and for infinity."""
    joints = _read_stored(path, key, row_shape, num_rows, dtype)
    if VISIBLE in stored_names(path):
        joints[read_rows(path, VISIBLE, row_shape[:1], len(joints)) == 0] = np.nan
    joints[~is_labelled(joints)] = np.nan
    _refuse(np.isinf(joints), "infinite", key, path)
    return joints


def read_rows(
    path: Path, key: str, row_shape: tuple[int, ...], num_rows: int | None = None, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """A data set (N, *row_shape) of finite numbers. Raises DataError saying what is there instead."""
    values = _read_stored(path, key, row_shape, num_rows, dtype)
    _refuse(~np.isfinite(values), "NaN or infinite", key, path)
    return values


def _refuse(bad: NDArray[np.bool_], what: str, key: str, path: Path) -> None:
    """Raise DataError where any number is `bad` (N, ...)."""
    rows = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))
    if len(rows):
        raise DataError(
            f"{path}: '{key}' is {what} in {len(rows):,} rows, the first is row {rows[0]} "
            f"(line {rows[0] + 1} of {image_list_of(path).name}); take these images out"
        )


def _read_stored(
    path: Path, key: str, row_shape: tuple[int, ...], num_rows: int | None, dtype: DTypeLike
) -> NDArray[Any]:
    """As `read_rows`, whatever the numbers are."""
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
    return values


def _joints_hint(path: Path, found: tuple[int, ...], row_shape: tuple[int, ...]) -> str:
    """What to change where labels of another number of joints are there; '' for other faults of the shape."""
    if len(found) != 3 or len(row_shape) != 2 or found[2] != row_shape[1] or found[1] == row_shape[0]:
        return ""
    skeleton_file = path.with_name(SKELETON_FILE)
    if skeleton_file.exists():
        return f": {skeleton_file} names {row_shape[0]} joints and these are {found[1]}"
    return f": these are not Human3.6M's {row_shape[0]} joints, so name them in {skeleton_file} (docs/data.md)"
