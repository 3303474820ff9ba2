"""A split of a data set as it lies on disk, in either layout and whatever is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.data.image_source import PackedImages, open_packed, spelt_as_on_disk
from integral_pose.data.subjects import is_guessed, subjects_of_column
from integral_pose.errors import DataError
from integral_pose.geometry.labelled_means import is_labelled
from integral_pose.io.labels import stored_names
from integral_pose.io.readers import read_hdf5, read_lines
from integral_pose.io.skeleton_file import read_skeleton
from integral_pose.io.text_columns import SEQUENCE, SUBJECT
from integral_pose.io.untrusted import inside, read_regular
from integral_pose.skeleton import Skeleton

COLUMNS = ("pose2d", "pose3d", "visible", "camera", "crop_to_image", "root_camera_mm", SUBJECT, SEQUENCE, "action")


@dataclass(frozen=True, eq=False)
class StoredSplit:
    """N listed images; columns are what the .h5 has of COLUMNS, unchecked."""

    root: Path
    split: str
    names: list[str]
    columns: dict[str, NDArray[Any]]
    packed: PackedImages | None  # None: the images are files
    skeleton: Skeleton

    @property
    def label_path(self) -> Path:
        """The .h5 of the split, which may not exist."""
        return self.root / "annot" / f"{self.split}.h5"

    @property
    def is_flat(self) -> bool:
        """Whether the labels are in px alone."""
        return "pose2d" in self.columns and "pose3d" not in self.columns

    @property
    def subjects(self) -> NDArray[np.str_]:
        """(N,) As training tells them apart; by the names alone where the column is not of them."""
        column = self.columns.get(SUBJECT)
        is_of_them = column is not None and column.shape == (len(self.names),)
        return subjects_of_column(column if is_of_them else None, self.names, self.label_path)

    @property
    def certain_subjects(self) -> set[str]:
        """Those that the column says, or names of a known form."""
        column, subjects = self.columns.get(SUBJECT), self.subjects.tolist()
        if column is not None and column.shape == (len(self.names),):
            return set(subjects)
        return {subject for subject, name in zip(subjects, self.names, strict=True) if not is_guessed(name)}

    def joints(self, key: str) -> Array:
        """The column `key` (N, J, axes), NaN where there is no label."""
        joints = self.columns[key].astype(np.float64)
        if "visible" in self.columns:
            joints[self.columns["visible"] == 0] = np.nan
        joints[~is_labelled(joints)] = np.nan
        return joints

    def images_only(self, first: int, end: int) -> StoredSplit:
        """Some of its rows without their labels, to be handed to another process."""
        packed = self.packed.take(np.arange(first, min(end, len(self.names)))) if self.packed else None
        return StoredSplit(self.root, self.split, self.names[first:end], {}, packed, self.skeleton)

    def encoded(self, row: int) -> tuple[bytes, str]:
        """The bytes of an image file and what to call it. Raises DataError if they cannot be read."""
        if self.packed is not None:
            return self.packed.read(row), self.packed.describe(row)
        path = inside(self.root / "images", self.names[row], f"{self.split}_images.txt")
        try:
            return read_regular(path), str(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def read_split(root: Path, split: str) -> StoredSplit | None:
    """A split of the data set, or None where it has none. Raises DataError for files that cannot be read."""
    list_path, label_path = root / "annot" / f"{split}_images.txt", root / "annot" / f"{split}.h5"
    if not list_path.exists() and not label_path.exists():
        return None
    names, skeleton = read_lines(list_path), read_skeleton(root / "annot")
    if not label_path.exists():
        return StoredSplit(root, split, spelt_as_on_disk(names, root / "images"), {}, None, skeleton)
    is_packed = "images" in stored_names(label_path)
    names = names if is_packed else spelt_as_on_disk(names, root / "images")
    packed = open_packed(label_path, np.array([name.encode() for name in names])) if is_packed else None
    return StoredSplit(root, split, names, read_hdf5(label_path, COLUMNS), packed, skeleton)
