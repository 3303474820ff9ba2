"""From the JSON of a benchmark to the lines of its table: means over seeds, their spread, paired intervals."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.evaluation.intervals import Estimate, paired_interval

GROUPS = {
    "trunk": ("RHip", "LHip", "Spine", "Thorax"),
    "head": ("Neck/Nose", "Head"),
    "arms": ("LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist"),
    "legs": ("RKnee", "RFoot", "LKnee", "LFoot"),
}


LEVELS_MM = (150, 100)
LEAST_SHARE = 0.01  # of the MPJPE: less is no difference to a reader, however surely it is not 0


class Difference(NamedTuple):
    """The MPJPE of one candidate less that of another; negative is better."""

    mm: Estimate  # over the sequences, errors averaged over the seeds
    seeds_better: int
    num_seeds: int
    relative: tuple[float, float, float]  # mean, low, high as shares of the other's MPJPE

    @property
    def is_decided(self) -> bool:
        """Whether neither other sequences nor other seeds are likely to turn the sign."""
        return self.mm.excludes_zero and self.seeds_better in (0, self.num_seeds)

    @property
    def matters(self) -> bool:
        """Whether it is as large as LEAST_SHARE."""
        return abs(self.relative[0]) >= LEAST_SHARE


class Line(NamedTuple):
    """A candidate over its seeds; mm."""

    name: str
    title: str
    mpjpe_mm: float
    spread_mm: float | None  # standard deviation over the seeds; None for one seed
    pa_mpjpe_mm: float
    groups_mm: dict[str, float]
    axes_mm: dict[str, float]  # distance along x, y and z alone, over all joints
    images: int  # that a run trained on
    images_per_s: float
    process_s: float | None  # of the runs that were not stopped and continued
    untrained_mm: float | None  # MPJPE before the first step; None where it was not measured
    seconds_to: dict[int, float | None]  # core seconds until a level of LEVELS_MM is reached; None: it is not
    difference: Difference | None  # from `against`; None for the candidate itself


def interval_words(effect: Difference) -> str:
    """Mean and interval in mm."""
    return f"{effect.mm.mean:+.1f} ({effect.mm.low:+.1f} to {effect.mm.high:+.1f})"


def seeds_words(effect: Difference) -> str:
    """In how many it is better."""
    return f"{effect.seeds_better} of {effect.num_seeds}"


def seconds_words(seconds: float | None) -> str:
    """A time of `seconds_to`."""
    return "-" if seconds is None else f"{seconds:.0f}"


def lines(content: Mapping[str, Any]) -> list[Line]:
    """Of the candidates that were run, in the order of the JSON."""
    rows = {row["name"]: row for row in content["rows"] if row["runs"]}
    return [_line(row, rows.get(row["against"])) for row in rows.values()]


def difference(row: Mapping[str, Any], other: Mapping[str, Any]) -> Difference:
    """Of two candidates with the same seeds on the same frames."""
    frames, own = _by_sequence(row["runs"])
    other_frames, others = _by_sequence(other["runs"])
    if frames != other_frames:
        raise ValueError(f"{row['name']} and {other['name']} were scored on other frames")
    counts = [count for _, count in frames]
    names = np.repeat([name for name, _ in frames], counts).tolist()
    # Every frame stands for the mean of its sequence, which leaves the sums that intervals are made of as they are.
    first, second = (np.repeat(errors.mean(0), counts) for errors in (others, own))
    interval = paired_interval(first, second, names)
    if interval.bounds is None:
        raise ValueError(f"an interval needs two sequences at least, found {len(frames)}")
    low, high = interval.bounds
    pairs = zip(_mpjpe(row["runs"]), _mpjpe(other["runs"]), strict=True)
    mean_mm = statistics.fmean(_mpjpe(other["runs"]))
    relative = (interval.mean / mean_mm, low / mean_mm, high / mean_mm)
    return Difference(interval, sum(one < two for one, two in pairs), len(row["runs"]), relative)


def _line(row: Mapping[str, Any], other: Mapping[str, Any] | None) -> Line:
    runs = row["runs"]
    whole = [run["process_s"] for run in runs if run["starts"] == 1]
    return Line(
        name=row["name"],
        title=row["title"],
        mpjpe_mm=statistics.fmean(_mpjpe(runs)),
        spread_mm=statistics.stdev(_mpjpe(runs)) if len(runs) > 1 else None,
        pa_mpjpe_mm=statistics.fmean(run["pa_mpjpe_mm"] for run in runs),
        groups_mm={
            group: statistics.fmean(run["per_joint_mm"][joint] for run in runs for joint in joints)
            for group, joints in GROUPS.items()
        },
        axes_mm={axis: statistics.fmean(run["per_axis_mm"][axis] for run in runs) for axis in "xyz"},
        images=runs[0]["images"],
        images_per_s=row["images_per_s"],
        process_s=statistics.fmean(whole) if whole else None,
        untrained_mm=statistics.fmean(run["untrained_mpjpe_mm"] for run in runs) if "curve" in runs[0] else None,
        seconds_to={level: seconds_to(level, row) for level in LEVELS_MM},
        difference=None if other is None or other is row else difference(row, other),
    )


def seconds_to(level_mm: float, row: Mapping[str, Any]) -> float | None:
    """Core seconds until the error of the training batches, averaged over the seeds, first is at the level."""
    points = zip(*(run.get("curve", ()) for run in row["runs"]), strict=True)
    reached = (point[0][0] for point in points if statistics.fmean(error_mm for _, error_mm in point) <= level_mm)
    seen = next(reached, None)
    return None if seen is None else float(seen / row["images_per_s"])


def _mpjpe(runs: Sequence[Mapping[str, Any]]) -> list[float]:
    return [run["mpjpe_mm"] for run in runs]


def _by_sequence(runs: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, int]], NDArray[np.float64]]:
    """([(sequence, frames)], MPJPE (seeds, sequences))."""
    frames = [(name, count) for name, (count, _, _) in runs[0]["sequences"].items()]
    return frames, np.array([[run["sequences"][name][1] for name, _ in frames] for run in runs])
