"""What the converters of 2D labels have in common: people in pictures -> a set with `pose2d` alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from integral_pose.contracts import Array
from integral_pose.data.label_matrix import TABLE_FILE
from integral_pose.datasets.conversion import ConversionSummary, Request, convert
from integral_pose.datasets.frame_labels import FLAT_FACTORS
from integral_pose.datasets.recording import FlatPerson, FlatRecording
from integral_pose.errors import ConfigError, DataError
from integral_pose.geometry.crop import tight_box
from integral_pose.geometry.labelled_means import is_labelled
from integral_pose.io.skeleton_file import SKELETON_FILE
from integral_pose.io.untrusted import inside

PEOPLE_A_RECORDING = 200
LEAST_JOINTS = 2  # one has no size
PIXEL_CENTRE = 0.5  # pixel i spans [i, i + 1]


@dataclass
class PeopleFile:
    """The people of one annotation file; those that are left out are counted by their reason."""

    path: Path
    split: str
    people: list[FlatPerson] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, picture: Path, key: str, joints_image_px: Array, box_image_px: Sequence[float] | None = None) -> None:
        """A person with joints (J, 2), NaN where there is no label, and the box x, y, w, h, if that counts too.

        `key` tells the people of a picture apart.
        """
        extent_px = joints_image_px[is_labelled(joints_image_px)]
        if len(extent_px) < LEAST_JOINTS:
            self.left_out[f"with fewer than {LEAST_JOINTS} joints"] += 1
            return
        if box_image_px is not None:
            x, y, width, height = box_image_px
            extent_px = np.concatenate([extent_px, [[x, y], [x + width, y + height]]])
        if not tight_box(extent_px)[1].max() > 0:
            self.left_out["without any size"] += 1
            return
        self.people.append(FlatPerson(picture, f"{picture.stem}_{key}.jpg", joints_image_px, extent_px))

    @property
    def note(self) -> str:
        """How many people there are, and who was left out."""
        counts = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        total = len(self.people) + self.left_out.total()
        return f"{self.path}: {len(self.people):,} of {total:,} people" + (f"; left out: {counts}" if counts else "")


def convert_people(files: Sequence[PeopleFile], request: Request, tables: str, source: Path) -> ConversionSummary:
    """Write the people as a data set with the shipped skeleton and table of joints called `tables`."""
    request.check()
    if request.crop not in FLAT_FACTORS:
        raise ConfigError(
            f"--crop {request.crop} needs depths, which 2D labels have not; known: {', '.join(FLAT_FACTORS)}"
        )
    recordings = [recording for file in files for recording in _recordings(file)]
    if not recordings:
        raise DataError("; ".join(file.note for file in files))
    beside = {
        name: resources.files("integral_pose.datasets").joinpath(f"tables/{tables}_{name}").read_text("utf-8")
        for name in (SKELETON_FILE, TABLE_FILE)
    }
    return convert(recordings, request, {"from": str(source.resolve())}, beside)


def _recordings(file: PeopleFile) -> list[FlatRecording]:
    parts = [file.people[i : i + PEOPLE_A_RECORDING] for i in range(0, len(file.people), PEOPLE_A_RECORDING)]
    notes = [(file.note,)] + [()] * len(parts)
    return [FlatRecording(f"{i:06d}", file.split, part, notes[i]) for i, part in enumerate(parts)]


def joints_of_triples(numbers: Any, num_joints: int, what: str) -> Array:
    """(J, 2) px from COCO's x, y, v of each joint, 0-based pixels; NaN where v is 0. Raises DataError naming `what`."""
    triples = numbers_of(numbers, (num_joints * 3,), what).reshape(num_joints, 3)
    return np.where(triples[:, 2:] > 0, triples[:, :2] + PIXEL_CENTRE, np.nan)


def numbers_of(values: Any, shape: tuple[int, ...], what: str) -> Array:
    """Finite numbers of that shape. Raises DataError naming `what`."""
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError):
        numbers = np.array([])
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise DataError(f"{what} is {values!r:.60}, expected {' x '.join(map(str, shape))} numbers")
    return numbers


def find_pictures(names: Sequence[Any], folders: Sequence[Path], source: Path) -> Path:
    """The first of the folders that holds the first of the named pictures. Raises DataError where none does."""
    for folder in folders:
        if names and inside(folder, str(names[0]), source).is_file():
            return folder
    raise DataError(f"{source}: the picture {names[:1]} is in none of {', '.join(map(str, folders))}")


def only_file(paths: Sequence[Path], what: str, source: Path) -> Path | None:
    """The one of some files, or None of none. Raises DataError where there are several."""
    if len(paths) > 1:
        raise DataError(f"{source}: has {len(paths)} files {what} ({', '.join(map(str, paths[:4]))}); leave one")
    return paths[0] if paths else None
