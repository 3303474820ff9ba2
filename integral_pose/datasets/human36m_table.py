"""The recordings of Human3.6M: names and lengths of 210 sequences, known faults, and which frames a set takes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from integral_pose.errors import ConfigError
from integral_pose.geometry.camera import CAMERA_IDS
from integral_pose.io.frame_names import CANONICAL_ACTIONS

TRAIN_SUBJECTS = ("S1", "S5", "S6", "S7", "S8")
TEST_SUBJECTS = ("S9", "S11")
# 3D displaced against the picture by about 0.2 m (action id, sub-action id); Greeting, SittingDown 1 and Waiting 1.
DRIFTED = {("S9", 5, 2), ("S9", 10, 2), ("S9", 13, 1)}
DRIFT_WORLD_MM = (-200.0, 0.0, 0.0)  # what brings them back, as in metrabs
# Corrupt in the first release (mended by its makers in 2020), so absent from the sets that everybody compares on.
CORRUPT_VIDEO = ("S11", 2, 2, "54138969")


class Sequence36M(NamedTuple):
    """One take, seen by four cameras."""

    subject: str
    action_id: int  # 2 .. 16
    sub_action: int  # 1 or 2: the take; not the number in the name
    base: str  # "Directions 1", as the official files are called
    pose_frames: int
    video_frames: tuple[int, ...]  # a camera each

    @property
    def action(self) -> str:
        """The name that papers use: Photo, WalkDog for every subject."""
        name = self.base.split(" ")[0]
        return CANONICAL_ACTIONS.get(name, name)

    @property
    def is_drifted(self) -> bool:
        """Whether its 3D is displaced."""
        return (self.subject, self.action_id, self.sub_action) in DRIFTED


class ChosenFrames(NamedTuple):
    """The frames of one camera's video of a sequence that a set takes."""

    sequence: Sequence36M
    camera_id: str
    split: str
    rows: Sequence[int]  # of the poses, from 0

    @property
    def name(self) -> str:
        """`S1_Directions_1.54138969`, which names of pictures begin with."""
        return f"{self.sequence.subject}_{self.sequence.base.replace(' ', '_')}.{self.camera_id}"


@dataclass(frozen=True)
class Choice:
    """Which frames make the set."""

    subjects: tuple[str, ...] = TRAIN_SUBJECTS + TEST_SUBJECTS
    every: int = 5  # training frames of a video: 1, 6, 11 ...
    test_every: int | None = None  # test frames of a video; None: every fifth, and of the list every tenth
    drifted: str = "keep"  # keep, exclude or correct
    corrupt_video: str = "exclude"  # exclude or keep

    @property
    def test_thinning(self) -> int:
        """Every how many-th entry of the whole test list is taken."""
        return 10 if self.test_every is None else 1

    def check(self) -> None:
        """Raise ConfigError for values that make no sense."""
        unknown = [subject for subject in self.subjects if subject not in TRAIN_SUBJECTS + TEST_SUBJECTS]
        if unknown or not self.subjects:
            known = ", ".join(TRAIN_SUBJECTS + TEST_SUBJECTS)
            raise ConfigError(f"--subjects: {', '.join(unknown) or 'none'}; subjects with public poses are {known}")
        for name, value in (("every", self.every), ("test-every", self.test_every)):
            if value is not None and value < 1:
                raise ConfigError(f"--{name} is {value}; it has to be 1 or more")


@cache
def sequences() -> tuple[Sequence36M, ...]:
    """All 210 sequences, by subject, action and take."""
    text = resources.files("integral_pose.datasets").joinpath("human36m_sequences.json").read_text("utf-8")
    rows: dict[str, list[Any]] = json.loads(text)["sequences"]
    return tuple(
        Sequence36M(subject, action, take, base, poses, tuple(videos))
        for subject, of_subject in rows.items()
        for action, take, base, poses, videos in of_subject
    )


@cache
def takes() -> dict[str, int]:
    """`S1_Directions_1`, as names of pictures begin -> first or second take of the action."""
    return {f"{found.subject}_{found.base.replace(' ', '_')}": found.sub_action for found in sequences()}


def list_videos(choice: Choice, table: Sequence[Sequence36M] | None = None) -> list[ChosenFrames]:
    """The videos of a set in the order of its lists; one that no frame is taken of is left out."""
    choice.check()
    videos, test_position = [], 0
    for sequence in sequences() if table is None else table:
        if sequence.subject not in choice.subjects or (choice.drifted == "exclude" and sequence.is_drifted):
            continue
        is_test = sequence.subject in TEST_SUBJECTS
        for camera_id in CAMERA_IDS:
            if choice.corrupt_video == "exclude" and (*sequence[:3], camera_id) == CORRUPT_VIDEO:
                continue
            rows: Sequence[int] = range(0, sequence.pose_frames, (choice.test_every or 5) if is_test else choice.every)
            if is_test:
                first = -test_position % choice.test_thinning
                test_position += len(rows)
                rows = rows[first :: choice.test_thinning]
            if rows:
                videos.append(ChosenFrames(sequence, camera_id, "valid" if is_test else "train", rows))
    return videos


def describe_plan(choice: Choice) -> str:
    """What would be written, subject by subject; read off the table alone."""
    chosen = list_videos(choice)
    lines = ["subject   set    videos    images"]
    for subject in choice.subjects:
        of_subject = [video for video in chosen if video.sequence.subject == subject]
        count = sum(len(video.rows) for video in of_subject)
        split = "test" if subject in TEST_SUBJECTS else "train"
        lines.append(f"{subject:<9} {split:<6} {len(of_subject):>6,} {count:>9,}")
    for split, name in (("train", "training images"), ("valid", "test images")):
        lines.append(f"{sum(len(video.rows) for video in chosen if video.split == split):,} {name}")
    if choice.test_thinning > 1:
        whole = list_videos(replace(choice, test_every=choice.test_every or 5))
        count = sum(len(video.rows) for video in whole if video.split == "valid")
        lines[-1] += f": every {choice.test_thinning}th entry of {count:,} test images"
    return "\n".join(lines)
