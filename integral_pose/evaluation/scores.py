"""From predictions and labels to scores."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array, FloatArray, Predictions, Scores
from integral_pose.errors import DataError
from integral_pose.evaluation.calibration import calibration
from integral_pose.evaluation.intervals import sequence_interval
from integral_pose.evaluation.metrics import frame_values, joint_errors_mm, labelled_frames, summarise
from integral_pose.evaluation.protocols import PROTOCOLS, Protocol
from integral_pose.geometry.labelled_means import is_labelled, labelled_mean
from integral_pose.io.frame_names import FrameName, parse_frame_name
from integral_pose.skeleton import Skeleton

GROUPS = ("action", "subject", "camera")  # fields of FrameName
OTHER = "other"  # the group of images whose names hold neither action nor subject


def score_predictions(
    predictions: Predictions,
    true_camera_mm: FloatArray,
    names: Sequence[str],
    skeleton: Skeleton,
    protocol: Protocol = PROTOCOLS["all"],
    sequences: NDArray[np.str_] | None = None,
) -> Scores:
    """Scores of predictions against (N, J, 3) labels in mm; the roots of both are subtracted here.

    `names` are the N image names in the order of the labels, or empty where there are none. Actions, subjects,
    cameras and intervals are left out where no name holds them; every mean is over frames, not over actions.
    `sequences` (N,) are the recordings that intervals are over, None where the names hold them. The predictions are of
    all N rows; the protocol chooses those that count.

    Raises DataError where a row is missing, double or not finite, and where counts differ.
    """
    order = _row_order(predictions, true_camera_mm, names)
    predicted_mm = predictions.joints_camera_mm[order]
    _check_finite(predicted_mm, "predicted", names, skeleton)
    _check_finite(true_camera_mm, "true", names, skeleton)
    every_frame, joints = [parse_frame_name(name) for name in names], protocol.joint_indices(skeleton)
    rows = protocol.rows(every_frame) if names or protocol.subjects else np.arange(len(order))
    rows = rows[labelled_frames(true_camera_mm[rows], skeleton.root, joints)]
    if len(rows) == 0:
        raise DataError("there is nothing to score: no joint that counts is labelled in mm")
    frames = [every_frame[row] for row in rows] if names else []
    predicted_mm, true_mm = predicted_mm[rows], true_camera_mm[rows]
    errors_mm = joint_errors_mm(predicted_mm, true_mm, "mpjpe", root=skeleton.root)[:, joints]
    metrics = summarise(predicted_mm, true_mm, skeleton, joints)
    if predictions.sigma_mm is not None:  # the root's error is 0 by definition
        moving = [j for j in joints if j != skeleton.root]
        errors_of_all_mm = joint_errors_mm(predicted_mm, true_mm, "mpjpe", root=skeleton.root)[:, moving]
        metrics |= calibration(errors_of_all_mm, predictions.sigma_mm[order][rows][:, moving])
    recordings, weights = sequence_names(frames, sequences, rows), label_shares(errors_mm)
    headline = frame_values(protocol.headline, predicted_mm, true_mm, joints, skeleton.root)
    groups = {kind: frames_by_group(frames, kind).items() for kind in GROUPS}
    return Scores(
        mpjpe_mm=metrics["mpjpe_mm"],
        pa_mpjpe_mm=metrics["pa_mpjpe_mm"],
        num_samples=len(errors_mm),
        per_joint_mm=_known(zip([skeleton.names[j] for j in joints], labelled_mean(errors_mm, axis=0), strict=True)),
        **{
            f"per_{kind}_mm": {name: float(labelled_mean(errors_mm[own])) for name, own in groups[kind]}
            for kind in GROUPS
        },
        metrics=metrics,
        interval_mm=sequence_interval(labelled_mean(errors_mm, axis=1), recordings, weights).bounds,
        headline_interval=sequence_interval(headline, recordings, weights).bounds,
        num_sequences=len(set(recordings)),
        protocol=protocol.name,
    )


def label_shares(errors_mm: Array) -> NDArray[np.float64]:
    """(N,) which share of the joints of each frame is labelled, of errors (N, J): what the frame counts in a mean."""
    shares: NDArray[np.float64] = is_labelled(errors_mm[..., None]).mean(1)
    return shares


def _known(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Without joints that are labelled nowhere."""
    return {name: float(value) for name, value in values if not np.isnan(value)}


def sequence_names(
    frames: Sequence[FrameName | None], sequences: NDArray[np.str_] | None, rows: NDArray[np.int64]
) -> list[str]:
    """The recording of each frame, the same for all cameras that saw it; [] where not every name holds it.

    `frames` are those of the rows alone, `sequences` what the set says of all: None where it leaves it to the names.
    """
    if sequences is not None:
        chosen: list[str] = sequences[rows].tolist()
        return chosen
    return [f"{frame.subject} {frame.action} {frame.sub_action}" for frame in frames if frame] if all(frames) else []


def frames_by_group(frames: Sequence[FrameName | None], kind: str) -> dict[str, NDArray[np.bool_]]:
    """Name of a group -> which of the frames belong to it, in natural order; {} where no name holds its group.

    `kind` is one of GROUPS.
    """
    if not any(frames):
        return {}
    groups = np.array([getattr(frame, kind) if frame else OTHER for frame in frames])
    names = sorted(set(groups.tolist()), key=lambda name: (name == OTHER, len(name) if name[1:].isdigit() else 0, name))
    return {name: groups == name for name in names}


def mean_over_actions_mm(scores: Scores) -> float | None:
    """Mean of the action means, which many papers print as their average; None without actions.

    Frames whose names hold no action count in none of them.
    """
    means_mm = [mean for action, mean in scores.per_action_mm.items() if action != OTHER]
    return float(np.mean(means_mm)) if means_mm else None


def _row_order(predictions: Predictions, true_camera_mm: FloatArray, names: Sequence[str]) -> NDArray[np.int64]:
    """Positions that bring the predictions into the order of the labels, each row found exactly once."""
    indices, joints_mm = predictions.indices, predictions.joints_camera_mm
    if len(true_camera_mm) == 0:
        raise DataError("there is nothing to score: the labels have no row")
    if len(indices) != len(joints_mm) or joints_mm.shape[1:] != true_camera_mm.shape[1:]:
        raise DataError(
            f"the predictions have shape {joints_mm.shape} for {len(indices)} rows, "
            f"the labels {true_camera_mm.shape}; all must be (N, J, 3) with the same joints"
        )
    if names and len(names) != len(true_camera_mm):
        raise DataError(f"there are {len(names)} image names for {len(true_camera_mm)} labelled rows")
    order, expected = np.argsort(indices), np.arange(len(true_camera_mm))
    if not np.array_equal(indices[order], expected):
        rows, counts = np.unique(np.concatenate([indices, expected]), return_counts=True)  # two each where all is well
        wrong = rows[(counts != 2) | ~np.isin(rows, expected)]
        raise DataError(
            f"row {wrong[0]} is predicted {np.sum(indices == wrong[0])} times; each of the labels' rows 0 to "
            f"{expected[-1]} has to be predicted once"
        )
    return order


def _check_finite(joints_mm: FloatArray, what: str, names: Sequence[str], skeleton: Skeleton) -> None:
    """Raise DataError naming the first row and joint that hold infinity, or, predicted, NaN."""
    bad = ~np.isfinite(joints_mm).all(axis=-1) if what == "predicted" else np.isinf(joints_mm).any(axis=-1)  # (N, J)
    if not bad.any():
        return
    row, joint = np.argwhere(bad)[0]
    image = f" ({names[row]})" if names else ""
    raise DataError(
        f"the {what} pose of row {row}{image} is {joints_mm[row, joint].tolist()} at {skeleton.names[joint]}; "
        f"{int(bad.any(axis=-1).sum())} of {len(joints_mm)} rows have such values. "
        + ("The model has diverged: take an earlier checkpoint." if what == "predicted" else "NaN means no label.")
    )
