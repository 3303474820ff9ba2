"""Several predictions of one test set side by side, and by how much each differs from the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array, FloatArray, Predictions, Scores
from integral_pose.evaluation.intervals import Estimate, paired_interval, sequence_interval
from integral_pose.evaluation.metrics import ALIGNMENTS, joint_errors_mm
from integral_pose.evaluation.scores import GROUPS, frames_by_group, score_predictions, sequence_names
from integral_pose.geometry.labelled_means import is_labelled, labelled_mean
from integral_pose.io.frame_names import parse_frame_name
from integral_pose.skeleton import Skeleton


@dataclass(frozen=True)
class Row:
    """A joint, an action, a metric: one value a run, and the differences of all runs but the first from it."""

    name: str
    values: Sequence[Estimate]
    differences: Sequence[Estimate] = ()  # taken frame by frame; () where frames are not known
    num_frames: int | None = None
    num_sequences: int | None = None


@dataclass(frozen=True)
class Comparison:
    """R runs on one test set."""

    scores: Sequence[Scores]
    distances: Mapping[str, Row]  # by the keys of `metrics.ALIGNMENTS` with `_mm`; `mpjpe_mm`, `pa_mpjpe_mm` at least
    groups: Mapping[str, Sequence[Row]]  # MPJPE in mm by 'joint', 'action', 'subject', 'camera', where names hold them
    frame_errors_mm: Sequence[Array] = ()  # a run: (N,) MPJPE of each frame; NaN: no label


def compare(
    predicted_by_run: Sequence[FloatArray],
    true_camera_mm: FloatArray,
    names: Sequence[str],
    skeleton: Skeleton,
    sequences: NDArray[np.str_] | None = None,
) -> Comparison:
    """Of R arrays (N, J, 3) mm on the same N labelled images; `names` (N,) or empty. Raises as `score_predictions`.

    `sequences` as there.
    """
    rows = np.arange(len(true_camera_mm))
    scores = [
        score_predictions(Predictions(rows, poses), true_camera_mm, names, skeleton, sequences=sequences)
        for poses in predicted_by_run
    ]
    frames = [parse_frame_name(name) for name in names]
    recordings = np.array(sequence_names(frames, sequences, rows), dtype=object)  # (N,), or empty where not known

    def row(name: str, values_by_run: Sequence[Array], weights: Array, chosen: NDArray[np.bool_] | bool = True) -> Row:
        known = (weights > 0) & chosen
        first, *others = values = [run[known] for run in values_by_run]
        own = recordings[known].tolist() if len(recordings) else []
        means = [sequence_interval(run, own, weights[known]) for run in values]
        differences = [paired_interval(first, run, own, weights[known]) for run in others]
        return Row(name, means, differences, len(first), len(set(own)) or None)

    errors_mm = {
        alignment: [joint_errors_mm(poses, true_camera_mm, alignment, root=skeleton.root) for poses in predicted_by_run]
        for alignment in ALIGNMENTS
    }
    plain_mm = errors_mm["mpjpe"]
    labelled = is_labelled(plain_mm[0][..., None])
    labelled[np.delete(labelled, skeleton.root, axis=1).sum(1) == 0] = False  # as `score_predictions` has it
    weights = labelled.mean(1)
    frame_errors_mm = [labelled_mean(run, axis=1) for run in plain_mm]
    groups = {
        "joint": [
            row(name, [run[:, j] for run in plain_mm], labelled[:, j].astype(np.float64))
            for j, name in enumerate(skeleton.names)
            if labelled[:, j].any()
        ]
    }
    for kind in GROUPS if any(frames) else ():
        members = frames_by_group(frames, kind)
        own = [(name, chosen) for name, chosen in members.items() if (weights[chosen] > 0).any()]
        groups[kind] = [row(name, frame_errors_mm, weights, chosen) for name, chosen in own]
    distances = {
        f"{name}_mm": row(f"{name}_mm", [labelled_mean(run, axis=1) for run in runs], weights)
        for name, runs in errors_mm.items()
    }
    return Comparison(scores, distances, groups, frame_errors_mm)


def compare_scores(scores: Sequence[Scores]) -> Comparison:
    """From scores alone, without the frames: means, no differences, and only the MPJPE's interval."""
    distances = {
        "mpjpe_mm": Row("mpjpe_mm", [Estimate(run.mpjpe_mm, *(run.interval_mm or ())) for run in scores]),
        "pa_mpjpe_mm": Row("pa_mpjpe_mm", [Estimate(run.pa_mpjpe_mm) for run in scores]),
    }
    groups = {}
    for kind in ("joint", *GROUPS):
        means = [getattr(run, f"per_{kind}_mm") for run in scores]
        known = [name for name in means[0] if all(name in run for run in means)]
        if known:
            groups[kind] = [Row(name, [Estimate(run[name]) for run in means]) for name in known]
    return Comparison(scores, distances, groups)
