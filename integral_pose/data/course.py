"""The on-disk format ("course layout"): lists of images, labels in .h5, pose statistics in text files.

root/annot/train.h5             pose2d (N, 17, 2) px of the crop, pose3d (N, 17, 3) mm in camera axes
root/annot/train_images.txt     N lines, paths relative to root/images
root/annot/valid_images.txt     the test images; valid.h5 with their labels may be absent
root/annot/mean.txt, std.txt    51 numbers each, root-relative, mm; computed from train.h5 where absent

The .h5 may hold the images too (packed layout, `image_source`), and how the crops were seen (`views`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from integral_pose.data.image_list import read_image_list
from integral_pose.data.image_source import FileImages, ImageSource, PackedImages, open_packed
from integral_pose.data.views import COLUMNS as VIEW_COLUMNS
from integral_pose.data.views import ViewTable, read_views
from integral_pose.errors import DataError
from integral_pose.geometry.coordinates import root_relative
from integral_pose.io.labels import CAMERA_MM, CROP_PX, read_labels, stored_names
from integral_pose.skeleton import HUMAN36M, Skeleton


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


def _read_split(root: Path, split: str, skeleton: Skeleton, joint_order: str, *, labels_needed: bool) -> PoseTable:
    if not root.is_dir():
        raise DataError(
            f"data.root {root}: there is no such folder. Give the folder that holds annot/ and images/, or make the "
            "synthetic data set with: integral-pose prepare synthetic --out data/synthetic"
        )
    list_path, label_path = root / "annot" / f"{split}_images.txt", root / "annot" / f"{split}.h5"
    has_file = label_path.exists()
    content = stored_names(label_path) if has_file else set()
    is_packed = "images" in content
    names = read_image_list(list_path, root / "images", are_files=not is_packed)
    packed = open_packed(label_path, names) if is_packed else None
    # The file of a test set may hold images or views and no poses; of anything else the reader says what is missing.
    lacks_poses = not content & {CROP_PX, CAMERA_MM} and content & {"images", *VIEW_COLUMNS}
    if labels_needed or (has_file and not lacks_poses):
        crop_px, camera_mm = read_labels(label_path, skeleton, joint_order, len(names))
        camera_mm = root_relative(camera_mm, skeleton.root)
    else:
        crop_px = np.full((len(names), skeleton.num_joints, 2), np.nan, np.float32)
        camera_mm = np.full((len(names), skeleton.num_joints, 3), np.nan, np.float32)
    views = read_views(label_path, len(names), root_needed=labels_needed) if has_file else None
    return PoseTable(root / "images", names, camera_mm, crop_px, packed, views)
