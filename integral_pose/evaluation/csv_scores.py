"""Score a CSV of predictions against the labels of a data set. Needs NumPy and h5py alone."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Predictions, Scores
from integral_pose.errors import DataError
from integral_pose.evaluation.intervals import Estimate, paired_interval
from integral_pose.evaluation.metrics import joint_errors_mm, labelled_frames
from integral_pose.evaluation.predictions_csv import PathLike, predicted_joints, read_predictions_csv
from integral_pose.evaluation.protocols import PROTOCOLS, Protocol
from integral_pose.evaluation.scores import label_shares, score_predictions, sequence_names
from integral_pose.geometry.labelled_means import labelled_mean
from integral_pose.io.frame_names import parse_frame_name
from integral_pose.io.labels import image_list_of, read_joints_camera_mm
from integral_pose.io.readers import read_lines
from integral_pose.io.skeleton_file import read_skeleton
from integral_pose.io.text_columns import SEQUENCE, read_sequences
from integral_pose.skeleton import Skeleton


def score_csv(
    csv_path: PathLike,
    truth_path: PathLike,
    protocol: Protocol = PROTOCOLS["all"],
    joint_order: str = "auto",
    *,
    some_joints: bool = False,
) -> Scores:
    """Scores of a predictions CSV against the labels in `truth_path`, for instance annot/valid.h5.

    The joints are those of the skeleton beside the labels; with `some_joints` the CSV may have fewer of them.

    Actions and subjects come from the image list beside the labels (valid_images.txt for valid.h5); without it the
    scores have neither. `joint_order` is that of the labels, as data.joint_order has it; predictions are in the
    official one. Raises DataError where a file is missing, damaged or of another length.
    """
    inputs = load_scoring_inputs(csv_path, truth_path, joint_order, some_joints=some_joints)
    predictions = Predictions(np.arange(len(inputs.predicted_mm)), inputs.predicted_mm)
    return score_predictions(
        predictions, inputs.true_mm, inputs.names, inputs.skeleton, protocol, sequences=inputs.sequences
    )


def compare_csv(
    csv_path: PathLike,
    other_path: PathLike,
    truth_path: PathLike,
    protocol: Protocol = PROTOCOLS["all"],
    joint_order: str = "auto",
    *,
    some_joints: bool = False,
) -> Estimate:
    """MPJPE of the first CSV less that of the other, frame by frame on the same labels: negative is better.

    Raises DataError as `score_csv`, and where neither a column nor image names say the sequences.
    """
    load = partial(load_scoring_inputs, truth_path=truth_path, joint_order=joint_order, some_joints=some_joints)
    own, other = load(csv_path), load(other_path)
    true_mm, skeleton = own.true_mm, own.skeleton
    if other.skeleton != skeleton:
        raise DataError(
            f"{csv_path} has {skeleton.num_joints} joints, {other_path} {other.skeleton.num_joints}; expected as many"
        )
    frames = [parse_frame_name(name) for name in own.names]
    joints = protocol.joint_indices(skeleton)
    rows = protocol.rows(frames) if frames or protocol.subjects else np.arange(len(true_mm))
    rows = rows[labelled_frames(true_mm[rows], skeleton.root, joints)]
    sequences = sequence_names([frames[row] for row in rows] if frames else [], own.sequences, rows)
    if len(set(sequences)) < 2:
        raise DataError(
            f"{truth_path}: an interval needs two sequences at least, by image names of Human3.6M's form or the column "
            f"'{SEQUENCE}', found {len(set(sequences))}"
        )
    own_mm, others_mm = (
        joint_errors_mm(poses[rows], true_mm[rows], root=skeleton.root)[:, joints]
        for poses in (own.predicted_mm, other.predicted_mm)
    )
    return paired_interval(
        labelled_mean(others_mm, axis=1), labelled_mean(own_mm, axis=1), sequences, label_shares(own_mm)
    )


class ScoringInputs(NamedTuple):
    """Predicted and true poses in the order of the data set, and what it says of its images."""

    predicted_mm: NDArray[np.float32]  # (N, J, 3)
    true_mm: NDArray[np.float64]  # (N, J, 3)
    names: list[str]  # (N,), or [] without a list
    skeleton: Skeleton
    sequences: NDArray[np.str_] | None  # (N,) the recordings; None: by the names, where these hold them


def load_scoring_inputs(
    csv_path: PathLike, truth_path: PathLike, joint_order: str = "auto", *, some_joints: bool = False
) -> ScoringInputs:
    """Of a CSV and the labels; row counts are the same, or DataError tells both."""
    stored = read_skeleton(Path(truth_path).parent)
    skeleton = predicted_joints(csv_path, stored) if some_joints else stored
    predicted_mm = read_predictions_csv(csv_path, skeleton)
    true_mm = read_joints_camera_mm(Path(truth_path), stored, joint_order)
    if skeleton != stored:
        true_mm = true_mm[:, [stored.names.index(name) for name in skeleton.names]]
    if len(predicted_mm) != len(true_mm):
        raise DataError(
            f"{csv_path} has {len(predicted_mm)} rows, {truth_path} has {len(true_mm)}; "
            "a prediction is needed for every image of the set, and for no other"
        )
    path = image_list_of(Path(truth_path))
    names = read_lines(path) if path.is_file() else []
    if path.is_file() and len(names) != len(true_mm):
        raise DataError(f"{path} has {len(names)} lines, {truth_path} has {len(true_mm)} rows; they must agree")
    return ScoringInputs(predicted_mm, true_mm, names, skeleton, read_sequences(Path(truth_path), len(true_mm)))
