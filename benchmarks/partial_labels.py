"""Sets made from one with all labels: people who lose their labels in mm, and joints that lose theirs at random."""

import shutil
from pathlib import Path

import h5py
import numpy as np

from integral_pose.datasets.without_depth import part_by_subjects
from integral_pose.skeleton import HUMAN36M

FLAT_SUBJECTS = ("S6", "S7", "S8")
GAPS = 1 / 3  # of the labels of all joints but the root, without which a pose has no origin


def write_partial_labels(root: Path) -> Path:
    """ROOT-labels/mm and /px (`part_by_subjects`) and /gaps, where they are not yet; returns ROOT-labels."""
    out = root.with_name(f"{root.name}-labels")
    if not (out / "mm").is_dir():
        part_by_subjects(root, out / "parted", FLAT_SUBJECTS)
        for name in ("px", "mm"):  # last what says that both are there
            (out / "parted" / name).rename(out / name)
        (out / "parted").rmdir()
    if not (out / "gaps").is_dir():
        _write_gaps(root, out / "gaps")
    return out


def _write_gaps(root: Path, out: Path) -> None:
    unfinished = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    without = shutil.ignore_patterns("mean.txt", "std.txt", "prepared.json")  # of labels that are gone
    shutil.copytree(root / "annot", unfinished / "annot", ignore=without)
    (unfinished / "images").symlink_to((root / "images").resolve(), target_is_directory=True)
    with h5py.File(unfinished / "annot" / "train.h5", "r+") as file:
        visible = np.random.default_rng(0).random(file["pose2d"].shape[:2]) >= GAPS
        visible[:, HUMAN36M.root] = True
        if "visible" in file:
            visible &= file["visible"][:] > 0
            del file["visible"]
        file["visible"] = visible.astype(np.uint8)
    unfinished.rename(out)
