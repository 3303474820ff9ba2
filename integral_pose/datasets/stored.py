"""A split of a data set as it lies on disk, in either layout and whatever is wrong with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.io.readers import read_hdf5, read_lines
from integral_pose.io.untrusted import find_dataset, inside, read_regular

COLUMNS = ("pose2d", "pose3d", "camera", "crop_to_image", "root_camera_mm", "subject", "action")


@dataclass(frozen=True, eq=False)
class StoredSplit:
    """N listed images; columns are what the .h5 has of COLUMNS, unchecked."""

    root: Path
    split: str
    names: list[str]
    columns: dict[str, NDArray[Any]]
    packed: tuple[int, NDArray[np.int64]] | None  # where images/bytes begins in the .h5, and images/offsets

    @property
    def label_path(self) -> Path:
        """The .h5 of the split, which may not exist."""
        return self.root / "annot" / f"{self.split}.h5"

    def encoded(self, row: int) -> tuple[bytes, str]:
        """The bytes of an image file and what to call it. Raises DataError if they cannot be read."""
        name = self.names[row]
        try:
            if self.packed is None:
                path = inside(self.root / "images", name, f"{self.split}_images.txt")
                return read_regular(path), str(path)
            start, offsets = self.packed
            first, end = int(offsets[row]), int(offsets[row + 1])
            with self.label_path.open("rb") as file:
                return os.pread(file.fileno(), end - first, start + first), f"{self.label_path}: {name}"
        except OSError as error:
            raise DataError(f"{error.filename or self.label_path}: cannot be read: {error.strerror}") from None


def read_split(root: Path, split: str) -> StoredSplit | None:
    """A split of the data set, or None where it has none. Raises DataError for files that cannot be read."""
    list_path, label_path = root / "annot" / f"{split}_images.txt", root / "annot" / f"{split}.h5"
    if not list_path.exists() and not label_path.exists():
        return None
    names = read_lines(list_path)
    columns = read_hdf5(label_path, COLUMNS) if label_path.exists() else {}
    return StoredSplit(root, split, names, columns, _find_packed(label_path, len(names)))


def _find_packed(label_path: Path, num_images: int) -> tuple[int, NDArray[np.int64]] | None:
    if not label_path.exists():
        return None
    offsets = read_hdf5(label_path, ("images/offsets",)).get("images/offsets")
    if offsets is None:
        return None
    with h5py.File(label_path, "r") as file:
        encoded = find_dataset(file, "images/bytes")
        start = encoded.id.get_offset() if encoded is not None and encoded.chunks is None else None
        if encoded is None or start is None or encoded.dtype != np.uint8 or encoded.external:
            raise DataError(f"{label_path}: 'images/bytes' is not one stretch of uint8 in this file")
        total = len(encoded)
    offsets = offsets.astype(np.int64)
    if (
        offsets.ndim != 1
        or len(offsets) != num_images + 1
        or offsets[0] != 0
        or offsets[-1] != total
        or (np.diff(offsets) < 0).any()
    ):
        raise DataError(
            f"{label_path}: 'images/offsets' is of shape {offsets.shape}; expected "
            f"{num_images + 1:,} rising ones from 0 to {total:,}"
        )
    return start, offsets
