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
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from integral_pose.contracts import CropViews
from integral_pose.data.image_source import FileImages, PackedImages, open_packed, read_image_list
from integral_pose.data.subjects import subject_of_path
from integral_pose.errors import DataError
from integral_pose.geometry.coordinates import root_relative
from integral_pose.geometry.labelled_means import is_labelled
from integral_pose.geometry.sides import doubt_of_sides
from integral_pose.io.labels import (
    CAMERA_MM,
    CROP_PX,
    read_labels,
    read_rows,
    stored_names,
)
from integral_pose.io.notices import notify
from integral_pose.io.skeleton_file import read_skeleton
from integral_pose.io.text_columns import read_sequences
from integral_pose.skeleton import HUMAN36M, Skeleton, joint_order

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
    joints_camera_mm: NDArray[np.float32]  # (N, J, 3) root-relative; NaN: no label
    joints_crop_px: NDArray[np.float32]  # (N, J, 2) px of the stored image; NaN: no label
    packed: PackedImages | None = None  # None: the images are files
    views: ViewTable | None = None  # None: the set does not say how its crops were seen
    stored_order: str = "official"  # the file's, as mean.txt beside it; the joints here are in the official one
    skeleton: Skeleton = field(kw_only=True)
    sequences: NDArray[np.str_] | None = None  # (N,) the recordings; None: by the names, where these hold them

    def __len__(self) -> int:
        return len(self.names)

    @property
    def images(self) -> FileImages | PackedImages:
        """The encoded images, by row."""
        return FileImages(self.images_folder, self.names) if self.packed is None else self.packed

    @property
    def has_labels(self) -> bool:
        """Whether the pose of any image is known."""
        return bool(is_labelled(self.joints_camera_mm).any())

    @property
    def is_complete(self) -> bool:
        """Whether every joint of every image has both labels."""
        return not (np.isnan(self.joints_camera_mm).any() or np.isnan(self.joints_crop_px).any())

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
            None if self.sequences is None else self.sequences[rows],
            skeleton=self.skeleton,
        )

    def of_joints(self, skeleton: Skeleton) -> PoseTable:
        """The table of some of the joints, which `skeleton` names in their order."""
        if skeleton == self.skeleton:
            return self
        order = list(joint_order(self.skeleton.names, skeleton.names))
        camera_mm = root_relative(self.joints_camera_mm[:, order], skeleton.root)
        return replace(
            self, joints_camera_mm=camera_mm, joints_crop_px=self.joints_crop_px[:, order], skeleton=skeleton
        )


def read_train(root: Path, joint_order: str = "auto", label_axes: str = "auto") -> PoseTable:
    """The training list and its labels, in the official joint order whatever the file's (`geometry.sides`).

    Raises DataError naming the file and what to do, also where `joint_order` and the poses contradict each other.
    """
    return _read_split(root, "train", joint_order, label_axes, labels_needed=True)


def read_test(root: Path, joint_order: str = "auto", label_axes: str = "auto") -> PoseTable:
    """The test list, with labels where valid.h5 exists; joint order and errors as `read_train`."""
    return _read_split(root, "valid", joint_order, label_axes, labels_needed=False)


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


def labelled_rows(table: PoseTable, *, from_px: bool) -> PoseTable:
    """The rows that something can be learnt from: a joint in mm besides the root, or, with `from_px`, one in px."""
    in_mm = is_labelled(table.joints_camera_mm)
    in_mm[:, table.skeleton.root] = False
    is_known = in_mm.any(1) | (is_labelled(table.joints_crop_px).any(1) & from_px)
    return table if is_known.all() else table.take(np.flatnonzero(is_known))


def _read_split(root: Path, split: str, joint_order: str, label_axes: str, *, labels_needed: bool) -> PoseTable:
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
        crop_px, camera_mm, order = read_labels(label_path, skeleton, joint_order, label_axes, len(names))
        camera_mm = root_relative(camera_mm, skeleton.root)
        is_known = skeleton.names == HUMAN36M.names and CAMERA_MM in content
        if is_known and (doubt := doubt_of_sides(camera_mm, joint_order, str(label_path))):
            notify(doubt)
    else:
        crop_px = np.full((len(names), skeleton.num_joints, 2), np.nan, np.float32)
        camera_mm, order = np.full((len(names), skeleton.num_joints, 3), np.nan, np.float32), "official"
    views = read_views(label_path, len(names), root_needed=labels_needed) if has_file else None
    sequences = read_sequences(label_path, len(names)) if has_file else None
    return PoseTable(root / "images", names, camera_mm, crop_px, packed, views, order, sequences, skeleton=skeleton)
