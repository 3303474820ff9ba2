"""The list of a split's images: every line a path that stays below the images folder, and a file that is there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.io.readers import existing, read_all_lines
from integral_pose.io.untrusted import fault_of_path


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
