"""The on-disk format ("course layout"): lists of images, labels in .h5, pose statistics in text files.

root/annot/train.h5             pose2d (N, 17, 2) px of the crop, pose3d (N, 17, 3) mm in camera axes
root/annot/train_images.txt     N lines, paths relative to root/images
root/annot/valid_images.txt     the test images; valid.h5 with their labels may be absent
root/annot/mean.txt, std.txt    51 numbers each, root-relative, mm; computed from train.h5 where absent

The .h5 may hold the images too (packed layout, `image_source`), and how the crops were seen (`views`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from integral_pose.data.image_source import FileImages, ImageSource, PackedImages, holds_images, open_packed
from integral_pose.data.views import COLUMNS as VIEW_COLUMNS
from integral_pose.data.views import ViewTable, read_views
from integral_pose.errors import DataError
from integral_pose.geometry.coordinates import root_relative
from integral_pose.geometry.sides import order_of_poses, to_human36m_order
from integral_pose.io.untrusted import fault_of_path, find_dataset, read_regular, require_plain
from integral_pose.skeleton import HUMAN36M, Skeleton

LARGEST_STATISTICS_BYTES = 100_000


@dataclass(frozen=True, eq=False)
class PoseTable:
    """N listed images and their labels. Plain arrays, so that worker processes share them without copying."""

    images_folder: Path
    names: NDArray[np.bytes_]  # (N,) UTF-8, relative to images_folder
    joints_camera_mm: NDArray[np.float32]  # (N, J, 3) root-relative; NaN where there are no labels
    joints_crop_px: NDArray[np.float32]  # (N, J, 2) px of the stored image; NaN where there are no labels
    packed: PackedImages | None = None  # None: the images are files
    views: ViewTable | None = None  # None: the set does not say how its crops were seen

    def __len__(self) -> int:
        return len(self.names)

    @property
    def images(self) -> ImageSource:
        """The encoded images, by row."""
        return FileImages(self.images_folder, self.names) if self.packed is None else self.packed

    @property
    def has_labels(self) -> bool:
        """Whether poses are known."""
        return bool(np.isfinite(self.joints_camera_mm).all())

    def name(self, row: int) -> str:
        """Path of an image as the list has it."""
        return str(self.names[row].decode("utf-8"))

    def take(self, rows: NDArray[np.int64]) -> PoseTable:
        """The table of some rows, in their order."""
        return PoseTable(
            self.images_folder,
            self.names[rows],
            self.joints_camera_mm[rows],
            self.joints_crop_px[rows],
            None if self.packed is None else self.packed.take(rows),
            None if self.views is None else self.views.take(rows),
        )


@dataclass(frozen=True, eq=False)
class PoseStatistics:
    """Mean and standard deviation of root-relative poses a joint and axis, (J, 3) mm; 0 deviation at the root."""

    mean_mm: NDArray[np.float32]
    std_mm: NDArray[np.float32]


def read_train(root: Path, skeleton: Skeleton = HUMAN36M, joint_order: str = "auto") -> PoseTable:
    """The training list and its labels, in the official joint order whatever the file's (`geometry.sides`).

    Raises DataError naming the file and what to do, also where `joint_order` and the poses contradict each other.
    """
    return _read_split(root, "train", skeleton, joint_order, labels_needed=True)


def read_test(root: Path, skeleton: Skeleton = HUMAN36M, joint_order: str = "auto") -> PoseTable:
    """The test list, with labels where valid.h5 exists; joint order and errors as `read_train`."""
    return _read_split(root, "valid", skeleton, joint_order, labels_needed=False)


def split_by_subject(table: PoseTable, held_out: Sequence[str]) -> tuple[PoseTable, PoseTable]:
    """(images of all other subjects, images of the `held_out` subjects), by the start of the file names."""
    subjects = np.array([name.rpartition(b"/")[2].partition(b"_")[0].decode() for name in table.names.tolist()])
    known = sorted(set(subjects.tolist()))
    for subject in held_out:
        if subject not in known:
            shown = ", ".join(known[:12])
            raise DataError(f"data.val_subjects: no training image is of subject '{subject}'; there are: {shown}")
    is_held_out = np.isin(subjects, list(held_out))
    if is_held_out.all():
        raise DataError(f"data.val_subjects {list(held_out)} holds out every training image; leave some to learn from")
    return table.take(np.flatnonzero(~is_held_out)), table.take(np.flatnonzero(is_held_out))


def evenly_spaced(table: PoseTable, limit: int | None) -> PoseTable:
    """At most `limit` rows, spread over the whole table."""
    if limit is None or limit >= len(table):
        return table
    return table.take(np.linspace(0, len(table) - 1, limit).round().astype(np.int64))


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
        order = _stored_order(root / "annot" / "train.h5", mean_mm, skeleton, joint_order)
        mean_mm, std_mm = to_human36m_order(mean_mm, order), to_human36m_order(std_mm, order)
    else:
        joints_camera_mm = read_train(root, skeleton, joint_order).joints_camera_mm.astype(np.float64)
        mean_mm, std_mm = joints_camera_mm.mean(0), joints_camera_mm.std(0)
    return PoseStatistics(mean_mm.astype(np.float32), std_mm.astype(np.float32))


def read_bone_length_mm(root: Path, skeleton: Skeleton = HUMAN36M) -> float | None:
    """All bones together, the mean over the training poses, in whichever order their legs are; None without train.h5.

    Raises DataError as `read_train` does of poses.
    """
    label_path, list_path = root / "annot" / "train.h5", root / "annot" / "train_images.txt"
    if not label_path.exists():
        return None
    try:
        with h5py.File(label_path, "r") as file:
            dataset = find_dataset(file, "pose3d")
            num_poses = len(dataset) if dataset is not None and dataset.ndim else 0
            poses_mm = _read_poses(file, "pose3d", 3, label_path, list_path, num_poses, skeleton)
    except DataError:
        raise
    except Exception as error:  # as below
        raise DataError(f"{label_path}: is damaged or no HDF5 file: {error}") from None
    children, parents = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    lengths_mm = np.linalg.norm(poses_mm[:, children] - poses_mm[:, parents], axis=-1)
    return float(lengths_mm.sum(-1, dtype=np.float64).mean())


def _stored_order(label_path: Path, mean_mm: NDArray[np.float64], skeleton: Skeleton, joint_order: str) -> str:
    """The joint order of a label file's poses; without the file that of the mean pose."""
    if skeleton is not HUMAN36M:
        return "official"
    try:
        with h5py.File(label_path, "r") as file:
            dataset = find_dataset(file, "pose3d")
            if dataset is None or dataset.shape[1:] != mean_mm.shape:
                poses_mm = mean_mm[None]
            else:
                require_plain(dataset, label_path)
                poses_mm = dataset[...]
    except DataError:
        raise
    except Exception:  # as below; the reader of the labels says what is wrong with the file
        poses_mm = mean_mm[None]
    return order_of_poses(poses_mm, joint_order, str(label_path))


def _read_split(root: Path, split: str, skeleton: Skeleton, joint_order: str, *, labels_needed: bool) -> PoseTable:
    if not root.is_dir():
        raise DataError(
            f"data.root {root}: there is no such folder. Give the folder that holds annot/ and images/, or make the "
            "synthetic data set with: integral-pose prepare synthetic --out data/synthetic"
        )
    list_path, label_path = root / "annot" / f"{split}_images.txt", root / "annot" / f"{split}.h5"
    has_file = label_path.exists()
    is_packed = has_file and holds_images(label_path)
    names = read_image_list(list_path, root / "images", are_files=not is_packed)
    packed = open_packed(label_path, names) if is_packed else None
    if labels_needed or (has_file and _has_poses(label_path)):
        crop_px, camera_mm = _read_labels(label_path, list_path, len(names), skeleton, joint_order)
    else:
        crop_px = np.full((len(names), skeleton.num_joints, 2), np.nan, np.float32)
        camera_mm = np.full((len(names), skeleton.num_joints, 3), np.nan, np.float32)
    views = read_views(label_path, len(names), root_needed=labels_needed) if has_file else None
    return PoseTable(root / "images", names, camera_mm, crop_px, packed, views)


def _has_poses(label_path: Path) -> bool:
    """False for a file that holds the images or views of a test set and no labels; damage is found by the reader."""
    try:
        with h5py.File(label_path, "r") as file:
            return "pose2d" in file or "pose3d" in file or not set(file) & {"images", *VIEW_COLUMNS}
    except Exception:  # h5py raises anything on damaged bytes
        return True


def read_image_list(list_path: Path, images_folder: Path, *, are_files: bool = True) -> NDArray[np.bytes_]:
    """The paths in a list file, checked: not empty, inside the images folder, and each a file that exists.

    With `are_files` False the paths are names of images that lie elsewhere.
    """
    try:
        # Bytes are split, since text would also be split at rarer line ends, which a file name may hold.
        lines = [line.decode("utf-8") for line in read_regular(list_path).splitlines()]
    except FileNotFoundError:
        raise DataError(f"{list_path}: there is no such file; it lists the images, one path a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{list_path}: cannot be read as UTF-8 text: {error}") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{list_path}: is empty; it lists the images, one path a line")
    for number, line in enumerate(lines, start=1):
        if fault := fault_of_path(line):
            raise DataError(f"{list_path}:{number}: {line[:200]!r} {fault}; paths are relative to {images_folder}")
    if are_files:
        _check_exist(lines, list_path, images_folder)
    return np.array([line.encode("utf-8") for line in lines])


def _check_exist(lines: list[str], list_path: Path, images_folder: Path) -> None:
    """One listing a folder instead of one look-up an image: 300,000 images take under a second."""
    if not images_folder.is_dir():
        raise DataError(f"{images_folder}: there is no such folder; it holds the images that {list_path} lists")
    present: dict[str, set[str]] = {}
    for number, line in enumerate(lines, start=1):
        folder, _, name = line.rpartition("/")
        if folder not in present:
            path = os.path.join(images_folder, folder)  # noqa: PTH118 - os.path says no to names that are too long
            present[folder] = _files_inside(path, images_folder, list_path)
        if name not in present[folder]:
            missing = [other for other in lines if not os.path.exists(images_folder / other)]  # noqa: PTH110
            raise DataError(
                f"{list_path}:{number}: the image {images_folder / line} {_what_is_wrong(images_folder / line)}"
                + (f" ({len(missing):,} of {len(lines):,} listed images are missing)" if len(missing) > 1 else "")
                + "; restore it, or take its line and its row in the .h5 out"
            )


def _what_is_wrong(path: Path) -> str:
    if not os.path.exists(path):  # noqa: PTH110 - as above
        return "does not exist"
    return "is a link that leaves the images folder, which is refused" if path.is_symlink() else "is no regular file"


def _files_inside(folder: str, images_folder: Path, list_path: Path) -> set[str]:
    """Names of the regular files in a folder; links count where they stay below the images folder."""
    top = os.path.realpath(images_folder)
    if not os.path.isdir(folder):  # noqa: PTH112
        return set()
    if os.path.commonpath([top, os.path.realpath(folder)]) != top:
        raise DataError(
            f"{list_path}: {folder} is a link that leaves {images_folder}, which is refused; put the pictures there, "
            "or make the images folder as a whole the link"
        )
    names = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            stays = not entry.is_symlink() or os.path.commonpath([top, os.path.realpath(entry.path)]) == top
            if stays and entry.is_file():  # reading a pipe would wait for ever
                names.add(entry.name)
    return names


def _read_labels(
    label_path: Path, list_path: Path, num_images: int, skeleton: Skeleton, joint_order: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N, J, 2) px and (N, J, 3) root-relative mm."""
    if not label_path.exists():
        raise DataError(f"{label_path}: there is no such file; it holds the poses of the images in {list_path.name}")
    try:
        with h5py.File(label_path, "r") as file:
            crop_px = _read_poses(file, "pose2d", 2, label_path, list_path, num_images, skeleton)
            camera_mm = _read_poses(file, "pose3d", 3, label_path, list_path, num_images, skeleton)
    except DataError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, ValueError and more on damaged bytes
        raise DataError(f"{label_path}: is damaged or no HDF5 file: {error}") from None
    if skeleton is HUMAN36M:
        order = order_of_poses(camera_mm, joint_order, str(label_path))
        crop_px, camera_mm = to_human36m_order(crop_px, order), to_human36m_order(camera_mm, order)
    return crop_px, root_relative(camera_mm, skeleton.root)


def _read_poses(
    file: h5py.File, key: str, axes: int, label_path: Path, list_path: Path, num_images: int, skeleton: Skeleton
) -> NDArray[np.float32]:
    dataset = find_dataset(file, key)
    if dataset is None:
        raise DataError(f"{label_path}: has no data set '{key}'; it has: {', '.join(file) or 'nothing'}")
    expected = (num_images, skeleton.num_joints, axes)
    if dataset.ndim == 3 and dataset.shape[1:] == expected[1:] and dataset.shape[0] != num_images:
        raise DataError(
            f"{label_path}: '{key}' has {dataset.shape[0]:,} poses, but {list_path} lists {num_images:,} images; "
            "line i of the list belongs to row i"
        )
    if dataset.shape != expected:
        raise DataError(f"{label_path}: '{key}' has the shape {dataset.shape}, expected {expected}")
    require_plain(dataset, label_path)
    poses = np.asarray(dataset[...], dtype=np.float32)
    bad_rows = np.flatnonzero(~np.isfinite(poses).all(axis=(1, 2)))
    if len(bad_rows):
        raise DataError(
            f"{label_path}: '{key}' is NaN or infinite in {len(bad_rows):,} rows, the first is row {bad_rows[0]} "
            f"(line {bad_rows[0] + 1} of {list_path.name}); take these images out"
        )
    return poses


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
