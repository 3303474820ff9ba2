"""Sets made from one with all labels: people who lose their labels in mm, images left out, joints without a label."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from integral_pose.datasets.without_depth import part_by_subjects
from integral_pose.skeleton import HUMAN36M

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
        names = (out / "mm/annot/train_images.txt").read_text("utf-8").splitlines()
        rows = np.linspace(0, len(names) - 1, min(FEW, len(names))).round().astype(np.intp)
        _write_changed(out / "mm", out / "few", rows, has_gaps=False)
    if not (out / "gaps").is_dir():
        names = (root / "annot/train_images.txt").read_text("utf-8").splitlines()
        _write_changed(root, out / "gaps", np.arange(len(names)), has_gaps=True)
    return out


def _write_changed(root: Path, out: Path, rows: NDArray[np.intp], *, has_gaps: bool) -> None:
    """The set of `root` with these training images, some of their labels missing; its images are linked as a folder."""
    unfinished = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    without = shutil.ignore_patterns("mean.txt", "std.txt", "prepared.json", "train*")  # of labels that are gone
    shutil.copytree(root / "annot", unfinished / "annot", ignore=without)
    (unfinished / "images").symlink_to((root / "images").resolve(), target_is_directory=True)
    names = (root / "annot/train_images.txt").read_text("utf-8").splitlines()
    (unfinished / "annot/train_images.txt").write_text("".join(f"{names[row]}\n" for row in rows), "utf-8")
    with h5py.File(root / "annot/train.h5") as file:
        columns: dict[str, Any] = {name: file[name][:][rows] for name in file}
    if has_gaps:
        visible = np.random.default_rng(0).random(columns["pose2d"].shape[:2]) >= GAPS
        visible[:, HUMAN36M.root] = True
        columns["visible"] = (visible & (columns.get("visible", True) > 0)).astype(np.uint8)
    with h5py.File(unfinished / "annot/train.h5", "w") as file:
        for name, values in columns.items():
            file[name] = values
    unfinished.rename(out)
