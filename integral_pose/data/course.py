"""The on-disk format ("course layout"): lists of images, labels in .h5, pose statistics in text files.

root/annot/train.h5             pose2d (N, 17, 2) px of the crop, pose3d (N, 17, 3) mm in camera axes
root/annot/train_images.txt     N lines, paths relative to root/images
root/annot/valid_images.txt     the test images; valid.h5 with their labels may be absent
root/annot/mean.txt, std.txt    51 numbers each, root-relative, mm; computed from train.h5 where absent
root/annot/skeleton.yaml        the joints, where they are not Human3.6M's 17 (`io.skeleton_file`)

The .h5 may hold the images too (packed layout, `image_source`), and how the crops were seen (`ViewTable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from integral_pose.contracts import CropViews
from integral_pose.data.image_source import FileImages, PackedImages, open_packed, read_image_list
from integral_pose.data.subjects import subject_of_path
from integral_pose.errors import DataError
from integral_pose.geometry.body_size import body_length_mm
from integral_pose.geometry.coordinates import root_relative
from integral_pose.geometry.sides import doubt_of_sides, to_human36m_order
from integral_pose.io.labels import (
    CAMERA_MM,
    CROP_PX,
    read_labels,
    read_poses_mm,
    read_rows,
    stored_names,
    stored_order,
)
from integral_pose.io.notices import notify
from integral_pose.io.skeleton_file import read_skeleton
from integral_pose.io.untrusted import read_regular
from integral_pose.skeleton import HUMAN36M, Skeleton

LARGEST_STATISTICS_BYTES = 100_000
LARGEST_DIFFERENCE_MM = 1.0  # between mean.txt and the mean of train.h5, which may have been rounded
LEAST_REACH_MM = 30.0  # of a mean pose's joints from the root; people's is hundreds
VIEW_COLUMNS = {"camera": 9, "crop_to_image": 3, "root_camera_mm": 3}


@dataclass(frozen=True, eq=False)
class ViewTable:
    """Of N stored crops; what the columns mean is said in `CropViews` and, for the crop, here."""

    camera: NDArray[np.float32]  # (N, 9)
    crop_to_image: NDArray[np.float32]  # (N, 3) left, top, scale: image_px = (left, top) + scale * crop_px
    root_camera_mm: NDArray[np.float32]  # (N, 3); NaN where the set does not say it

    @property
    def has_roots(self) -> bool:
        """Whether it is known where the root joints are."""
        return bool(np.isfinite(self.root_camera_mm).all())

    def take(self, rows: NDArray[np.int64]) -> ViewTable:
        """The table of some rows, in their order."""
        return ViewTable(self.camera[rows], self.crop_to_image[rows], self.root_camera_mm[rows])

    def batch(self, rows: NDArray[np.int64], px_per_stored_px: NDArray[np.float32]) -> CropViews:
        """The views of some rows; px_per_stored_px (2,) is how the crops were resized, x and y."""
        left_top_scale = torch.from_numpy(self.crop_to_image[rows])
        crop_to_image = torch.zeros(len(rows), 2, 3)
        crop_to_image[:, :, 2] = left_top_scale[:, :2]
        for axis in range(2):
            crop_to_image[:, axis, axis] = left_top_scale[:, 2] / float(px_per_stored_px[axis])
        return CropViews(
            camera=torch.from_numpy(self.camera[rows]),
            crop_to_image=crop_to_image,
            root_camera_mm=torch.from_numpy(self.root_camera_mm[rows]),
            label_axes=torch.eye(3).repeat(len(rows), 1, 1),
        )


def read_views(label_path: Path, num_images: int, *, root_needed: bool = True) -> ViewTable | None:
    """The views of a label file, or None where it lacks any of their columns. Raises DataError where they are bad.

    Unless `root_needed`, root_camera_mm may be missing.
    """
    missing = VIEW_COLUMNS.keys() - stored_names(label_path)
    if missing - (set() if root_needed else {"root_camera_mm"}):
        return None
    columns = [
        np.full((num_images, width), np.nan, np.float32)
        if name in missing
        else read_rows(label_path, name, (width,), num_images)
        for name, width in VIEW_COLUMNS.items()
    ]
    return ViewTable(*columns)


@dataclass(frozen=True, eq=False)
class PoseTable:
    """N listed images and their labels. Plain arrays, so that worker processes share them without copying."""

    images_folder: Path
    names: NDArray[np.bytes_]  # (N,) UTF-8, relative to images_folder
    joints_camera_mm: NDArray[np.float32]  # (N, J, 3) root-relative; NaN where there are no labels
    joints_crop_px: NDArray[np.float32]  # (N, J, 2) px of the stored image; NaN where there are no labels
    packed: PackedImages | None = None  # None: the images are files
    views: ViewTable | None = None  # None: the set does not say how its crops were seen
    stored_order: str = "official"  # the file's, as mean.txt beside it; the joints here are in the official one
    skeleton: Skeleton = HUMAN36M

    def __len__(self) -> int:
        return len(self.names)

    @property
    def images(self) -> FileImages | PackedImages:
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
            self.stored_order,
            self.skeleton,
        )


def read_train(root: Path, joint_order: str = "auto") -> PoseTable:
    """The training list and its labels, in the official joint order whatever the file's (`geometry.sides`).

    Raises DataError naming the file and what to do, also where `joint_order` and the poses contradict each other.
    """
    return _read_split(root, "train", joint_order, labels_needed=True)


def read_test(root: Path, joint_order: str = "auto") -> PoseTable:
    """The test list, with labels where valid.h5 exists; joint order and errors as `read_train`."""
    return _read_split(root, "valid", joint_order, labels_needed=False)


def split_by_subject(
    table: PoseTable, held_out: Sequence[str], subjects: NDArray[np.str_] | None = None
) -> tuple[PoseTable, PoseTable]:
    """(images of all other subjects, images of the `held_out` ones); `subjects` (N,) as `data.subjects` reads them.

    None: by the paths of the images alone.
    """
    if subjects is None:
        subjects = np.array([subject_of_path(table.name(row)) for row in range(len(table))])
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


def _read_split(root: Path, split: str, joint_order: str, *, labels_needed: bool) -> PoseTable:
    if not root.is_dir():
        raise DataError(
            f"data.root {root}: there is no such folder. Give the folder that holds annot/ and images/, or make the "
            f"synthetic data set with: integral-pose prepare synthetic --out {root}"
        )
    skeleton = read_skeleton(root / "annot")
    list_path, label_path = root / "annot" / f"{split}_images.txt", root / "annot" / f"{split}.h5"
    has_file = label_path.exists()
    content = stored_names(label_path) if has_file else set()
    is_packed = "images" in content
    names = read_image_list(list_path, root / "images", are_files=not is_packed)
    packed = open_packed(label_path, names) if is_packed else None
    # The file of a test set may hold images or views and no poses; of anything else the reader says what is missing.
    lacks_poses = not content & {CROP_PX, CAMERA_MM} and content & {"images", *VIEW_COLUMNS}
    if labels_needed or (has_file and not lacks_poses):
        crop_px, camera_mm, order = read_labels(label_path, skeleton, joint_order, len(names))
        camera_mm = root_relative(camera_mm, skeleton.root)
        if skeleton.names == HUMAN36M.names and (doubt := doubt_of_sides(camera_mm, joint_order, str(label_path))):
            notify(doubt)
    else:
        crop_px = np.full((len(names), skeleton.num_joints, 2), np.nan, np.float32)
        camera_mm, order = np.full((len(names), skeleton.num_joints, 3), np.nan, np.float32), "official"
    views = read_views(label_path, len(names), root_needed=labels_needed) if has_file else None
    return PoseTable(root / "images", names, camera_mm, crop_px, packed, views, order, skeleton)


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
    exact_mm = poses_mm.astype(np.float64, order="C")
    statistics = exact_mm.mean(0), exact_mm.std(0)
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


def read_bone_length_mm(root: Path) -> float | None:
    """All bones together, the mean over the training poses, in whichever order their legs are; None without train.h5.

    Raises DataError as `read_train` does of poses.
    """
    label_path = root / "annot" / "train.h5"
    if not label_path.exists():
        return None
    skeleton = read_skeleton(root / "annot")
    return float(body_length_mm(read_poses_mm(label_path, skeleton), skeleton).mean())


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
