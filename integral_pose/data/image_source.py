"""The images of a split: their checked list, and their bytes, a file each or packed in the .h5 of the labels.

`FileImages` and `PackedImages` hold NumPy arrays alone: worker processes share those without a copy, while many
Python objects would be copied page by page as soon as their reference counts are touched.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.io.readers import existing, read_all_lines
from integral_pose.io.untrusted import fault_of_path, find_dataset, open_hdf5, require_plain, spelling_on_disk


def read_image_list(list_path: Path, images_folder: Path, *, are_files: bool = True) -> NDArray[np.bytes_]:
    """The paths in a list file, checked: not empty, inside the images folder, and each a file that exists.

    With `are_files` False the paths are names of images that lie elsewhere.
    """
    lines = read_all_lines(existing(list_path, "the list of the images, one path a line"))
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{list_path}: is empty; it lists the images, one path a line")
    for number, line in enumerate(lines, start=1):
        if fault := fault_of_path(line):
            raise DataError(f"{list_path}:{number}: {line[:200]!r} {fault}; paths are relative to {images_folder}")
    if are_files:
        lines = spelt_as_on_disk(lines, images_folder)
        _check_exist(lines, list_path, images_folder)
    return np.array([line.encode("utf-8") for line in lines])


def spelt_as_on_disk(lines: list[str], images_folder: Path) -> list[str]:
    """Names with accents and backslashes as they are called in the folder, whatever system wrote the list."""
    return [line if line.isascii() and "\\" not in line else spelling_on_disk(images_folder, line) for line in lines]


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


REPACK = "write it anew with 'integral-pose prepare ... --layout packed'"


class FileImages:
    """A file an image; `names` (N,) are their paths as UTF-8, relative to `folder`."""

    def __init__(self, folder: Path, names: NDArray[np.bytes_]) -> None:
        self.folder, self.names = folder, names
        self._prefix = os.path.join(os.fsencode(folder), b"")  # noqa: PTH118 - with the separator behind it

    def read(self, row: int) -> bytes:
        """The bytes of an image. Raises DataError naming it if they cannot be had."""
        try:
            with open(self._prefix + self.names[row], "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs more than the read
                return file.read()
        except OSError as error:
            raise DataError(f"{self.describe(row)}: cannot be read: {error.strerror}") from None

    def sizes_bytes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sizes of some image files; -1 where there is none."""
        return np.array([self._size_bytes(row) for row in rows], np.int64)

    def _size_bytes(self, row: int) -> int:
        try:
            return os.stat(self._prefix + self.names[row]).st_size  # noqa: PTH116 - the path is bytes
        except OSError:
            return -1

    def describe(self, row: int) -> str:
        """The path of an image."""
        return str(self.folder / self.names[row].decode("utf-8"))


class PackedImages:
    """JPEG files end to end inside one file, read at their place without the HDF5 library.

    starts, sizes (N,) are in bytes of the file. It is opened by the first read in a process and kept open, so that
    each process has one descriptor, whatever the number of images; pickling leaves the descriptor behind.
    """

    def __init__(
        self, path: Path, names: NDArray[np.bytes_], starts: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> None:
        self.path, self.names, self.starts, self.sizes = path, names, starts, sizes
        self._descriptor: int | None = None

    def read(self, row: int) -> bytes:
        """The bytes of an image. Raises DataError naming it if they cannot be had."""
        size = int(self.sizes[row])
        try:
            # A position of its own in every call, so that forked processes can share the descriptor. A memory map
            # is as fast, but kills the process where the file was cut short.
            encoded = os.pread(self._open(), size, int(self.starts[row]))
        except OSError as error:
            raise DataError(f"{self.describe(row)}: cannot be read: {error.strerror}") from None
        if len(encoded) != size:
            raise DataError(f"{self.describe(row)}: the file ends inside this image; copy or prepare it again")
        return encoded

    def sizes_bytes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sizes of some image files, as they were before they were packed."""
        return self.sizes[rows].astype(np.int64)

    def describe(self, row: int) -> str:
        """The file and the name of an image in it."""
        return f"{self.path}: {self.names[row].decode('utf-8')}"

    def take(self, rows: NDArray[np.int64]) -> PackedImages:
        """Some of the images, in the order of `rows`."""
        return PackedImages(self.path, self.names[rows], self.starts[rows], self.sizes[rows])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_descriptor": None}

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            weakref.finalize(self, os.close, self._descriptor)
        return self._descriptor


def open_packed(label_path: Path, names: NDArray[np.bytes_]) -> PackedImages:
    """The images inside a label file. Raises DataError where they cannot be used."""
    with open_hdf5(label_path) as file:
        start, offsets = _find_images(file, label_path, len(names))
        _check_place(file["images/bytes"], start, label_path)
    return PackedImages(label_path, names, start + offsets[:-1], np.diff(offsets))


def _find_images(file: h5py.File, label_path: Path, num_images: int) -> tuple[int, NDArray[np.int64]]:
    """Where `images/bytes` begins in the file, and `images/offsets` (N + 1,), checked."""
    encoded, positions = (find_dataset(file, name) for name in ("images/bytes", "images/offsets"))
    if encoded is None or positions is None or encoded.ndim != 1 or positions.ndim != 1:
        raise DataError(
            f"{label_path}: 'images/bytes' and 'images/offsets' have to be rows of numbers in this file, no links to "
            f"others; {REPACK}"
        )
    require_plain(encoded, label_path)
    require_plain(positions, label_path)
    if encoded.dtype != np.uint8 or encoded.chunks is not None or positions.dtype.kind not in "iu":
        raise DataError(
            f"{label_path}: expected 'images/bytes' as uint8 without chunks and 'images/offsets' as whole numbers, "
            f"found {encoded.dtype}{' in chunks' if encoded.chunks else ''} and {positions.dtype}; {REPACK}"
        )
    offsets = positions[: num_images + 2].astype(np.int64)  # one more than is right shows that there are too many
    if len(offsets) != num_images + 1 or offsets[0] != 0 or offsets[-1] != len(encoded) or (np.diff(offsets) < 0).any():
        raise DataError(
            f"{label_path}: 'images/offsets' has {len(positions):,} entries, expected {num_images + 1:,} rising ones "
            f"from 0 to {len(encoded):,} for the {num_images:,} images of the list"
        )
    return encoded.id.get_offset() or 0, offsets


def _check_place(encoded: h5py.Dataset, start: int, label_path: Path) -> None:
    """Hold a few bytes at the computed place against what the HDF5 library reads there."""
    expected = encoded[:64].tobytes()
    with label_path.open("rb") as file:
        file.seek(start)
        found = file.read(len(expected))
    if found != expected or label_path.stat().st_size < start + len(encoded):
        raise DataError(f"{label_path}: 'images/bytes' is not where the file says; {REPACK}")
