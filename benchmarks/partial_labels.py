"""Sets made from one with all labels: people who lose their labels in mm, images left out, joints without a label."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.datasets.stored import StoredSplit, read_split
from integral_pose.datasets.without_depth import part_by_subjects, write_rows
from integral_pose.errors import DataError

FLAT_SUBJECTS = ("S6", "S7", "S8")
FEW = 500  # images
GAPS = 1 / 3  # of the labels of all joints but the root, without which a pose has no origin


def write_partial_labels(root: Path) -> Path:
    """ROOT-labels, what is not there yet: mm and px (`part_by_subjects`), few (FEW of mm), gaps (of ROOT)."""
    out = root.with_name(f"{root.name}-labels")
    if not (out / "mm").is_dir():
        part_by_subjects(root, out / "parted", FLAT_SUBJECTS)
        for name in ("px", "mm"):  # last what says that both are there
            (out / "parted" / name).rename(out / name)
        (out / "parted").rmdir()
    if not (out / "few").is_dir():
        two = _read(out / "mm", "train")
        rows = np.linspace(0, len(two.names) - 1, min(FEW, len(two.names))).round().astype(np.intp)
        _write_set(out / "few", two, rows, two.columns)
    if not (out / "gaps").is_dir():
        every = _read(root, "train")
        _write_set(out / "gaps", every, np.arange(len(every.names)), {**every.columns, "visible": _with_gaps(every)})
    return out


def _with_gaps(split: StoredSplit) -> NDArray[np.uint8]:
    """The column `visible` of fewer labels."""
    shape = split.columns["pose2d"].shape[:2]
    visible = np.random.default_rng(0).random(shape) >= GAPS
    visible[:, split.skeleton.root] = True
    is_visible: NDArray[np.bool_] = split.columns.get("visible", np.ones(shape)) > 0
    return (visible & is_visible).astype(np.uint8)


def _write_set(out: Path, train: StoredSplit, rows: NDArray[np.intp], columns: Mapping[str, NDArray[Any]]) -> None:
    """Those training images, and the test set beside them."""
    unfinished, valid = out.with_name(f".{out.name}.unfinished"), _read(train.root, "valid")
    shutil.rmtree(unfinished, ignore_errors=True)
    write_rows(train, unfinished, rows, columns)
    write_rows(valid, unfinished, np.arange(len(valid.names)), valid.columns)
    unfinished.rename(out)


def _read(root: Path, split: str) -> StoredSplit:
    if (found := read_split(root, split)) is None:
        raise DataError(f"{root}: has no images of split {split}")
    return found
