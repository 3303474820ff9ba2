"""What of a data set makes it another one, and what does not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from integral_pose.data.course import read_train
from integral_pose.data.fingerprint import find_data_changes, fingerprint


def parts(before: Path, after: Path) -> list[str]:
    return [
        change.part for change in find_data_changes(fingerprint(read_train(before)), fingerprint(read_train(after)))
    ]


def relabel(root: Path, key: str) -> None:
    with h5py.File(root / "annot" / "train.h5", "r+") as file:
        file[key][3, 5] += 1


def relist(root: Path, change: Callable[[list[int]], list[int]]) -> None:
    """Take the rows of list and labels that `change` makes of all."""
    lines = (root / "annot" / "train_images.txt").read_text().splitlines()
    rows = change(list(range(len(lines))))
    (root / "annot" / "train_images.txt").write_text("".join(lines[row] + "\n" for row in rows))
    with h5py.File(root / "annot" / "train.h5", "r+") as file:
        for key in ("pose2d", "pose3d"):
            values = file[key][...][rows]
            del file[key]
            file[key] = values


def rename(root: Path) -> None:
    lines = (root / "annot" / "train_images.txt").read_text().splitlines()
    (root / "images" / lines[0]).rename(root / "images" / "S1_Eating_1.54138969_000001.jpg")
    (root / "annot" / "train_images.txt").write_text("\n".join(["S1_Eating_1.54138969_000001.jpg", *lines[1:]]))


def add_views(root: Path) -> None:
    with h5py.File(root / "annot" / "train.h5", "r+") as file:
        for key, width in (("camera", 9), ("crop_to_image", 3), ("root_camera_mm", 3)):
            file[key] = np.ones((10, width), np.float32)


def rewrite_picture(root: Path) -> None:
    path = sorted((root / "images").glob("S1_*"))[0]
    path.write_bytes(path.read_bytes() + b"\0")


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "half of the images": (lambda root: relist(root, lambda rows: rows[::2]), ["images"]),
    "another order": (lambda root: relist(root, lambda rows: rows[::-1]), ["order"]),
    "another name": (rename, ["names"]),
    "labels in px": (lambda root: relabel(root, "pose2d"), ["pose2d"]),
    "labels in mm": (lambda root: relabel(root, "pose3d"), ["pose3d"]),
    "cameras": (add_views, ["views"]),
    "another picture": (rewrite_picture, ["sizes"]),
    "nothing": (lambda root: None, []),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_differs_is_named(
    change: Callable[[Path], object], expected: list[str], course_root: Path, own_course_root: Path
) -> None:
    change(own_course_root)
    assert parts(course_root, own_course_root) == expected


def test_a_set_is_the_same_in_another_place_and_of_another_age(course_root: Path, tmp_path: Path) -> None:
    assert parts(course_root, Path(shutil.copytree(course_root, tmp_path / "moved", copy_function=shutil.copy))) == []
