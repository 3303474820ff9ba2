"""A data set parted by people: some keep their labels in mm, the others those in px alone.

For trials of mixed training where no 2D data set is at hand: what the labels in px add is measured against what they
were before.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from integral_pose.datasets.stored import StoredSplit, read_split
from integral_pose.errors import DataError, OutputError
from integral_pose.io.skeleton_file import read_skeleton, write_skeleton

IN_PX = ("pose2d", "visible", "crop_to_image", "subject", "sequence", "action")  # columns that say nothing of depth


def part_by_subjects(root: Path, out: Path, flat_subjects: Sequence[str]) -> tuple[int, int]:
    """Write out/mm, with the test set, and out/px, the training images of `flat_subjects`; returns how many each has.

    Images are linked where the disk can. Raises DataError where one of the two would be empty or the images are packed,
    OutputError where `out` is there already.
    """
    train, valid = read_split(root, "train"), read_split(root, "valid")
    if train is None or train.packed is not None or "pose3d" not in train.columns:
        raise DataError(f"{root}: expected a training set whose images are files, with 'pose3d'")
    if out.exists():
        raise OutputError(f"{out}: is there already; give a folder that is not")
    is_flat = np.isin(train.subjects, list(flat_subjects))
    if not is_flat.any() or is_flat.all():
        known = ", ".join(sorted(set(train.subjects.tolist())))
        raise DataError(f"{root}: {', '.join(flat_subjects)} are none or all of its training people: {known}")
    write_rows(train, out / "mm", np.flatnonzero(~is_flat), train.columns)
    in_px = {key: column for key, column in train.columns.items() if key in IN_PX}
    write_rows(train, out / "px", np.flatnonzero(is_flat), in_px)
    if valid is not None:
        write_rows(valid, out / "mm", np.arange(len(valid.names)), valid.columns)
    return int((~is_flat).sum()), int(is_flat.sum())


def write_rows(split: StoredSplit, out: Path, rows: NDArray[np.intp], columns: Mapping[str, NDArray[Any]]) -> None:
    """Some images of a split whose images are files as that split of the set `out`, with these columns of all images.

    Images are linked where the disk can.
    """
    names = [split.names[row] for row in rows]
    (out / "annot").mkdir(parents=True, exist_ok=True)
    for name in names:
        target = out / "images" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(split.root / "images" / name, target)
        except OSError:  # another disk, or one without links
            shutil.copyfile(split.root / "images" / name, target)
    write_skeleton(out / "annot", read_skeleton(split.root / "annot"))
    with h5py.File(out / "annot" / f"{split.split}.h5", "w", track_order=False) as file:
        for key, column in columns.items():
            file.create_dataset(key, data=column[rows], track_times=False)
    (out / "annot" / f"{split.split}_images.txt").write_text("".join(f"{name}\n" for name in names), "utf-8")
