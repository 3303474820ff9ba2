"""Score a CSV of predictions against the labels of a data set. Needs NumPy and h5py alone."""

from functools import partial
from pathlib import Path

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
    predicted_mm, true_mm, names, skeleton = load_scoring_inputs(
        csv_path, truth_path, joint_order, some_joints=some_joints
    )
    return score_predictions(
        Predictions(np.arange(len(predicted_mm)), predicted_mm), true_mm, names, skeleton, protocol
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

    Raises DataError as `score_csv`, and where image names do not hold the sequences.
    """
    load = partial(load_scoring_inputs, truth_path=truth_path, joint_order=joint_order, some_joints=some_joints)
    predicted_mm, true_mm, names, skeleton = load(csv_path)
    other_mm, _, _, other = load(other_path)
    if other != skeleton:
        raise DataError(
            f"{csv_path} has {skeleton.num_joints} joints, {other_path} {other.num_joints}; expected as many"
        )
    frames = [parse_frame_name(name) for name in names]
    joints, rows = protocol.joint_indices(skeleton), protocol.rows(frames)
    rows = rows[labelled_frames(true_mm[rows], skeleton.root, joints)]
    sequences = sequence_names([frames[row] for row in rows])
    if len(set(sequences)) < 2:
        raise DataError(
            f"{truth_path}: an interval needs image names of two sequences at least, found {len(set(sequences))}"
        )
    own_mm, others_mm = (
        joint_errors_mm(poses[rows], true_mm[rows], root=skeleton.root)[:, joints] for poses in (predicted_mm, other_mm)
    )
    return paired_interval(
        labelled_mean(others_mm, axis=1), labelled_mean(own_mm, axis=1), sequences, label_shares(own_mm)
    )


def load_scoring_inputs(
    csv_path: PathLike, truth_path: PathLike, joint_order: str = "auto", *, some_joints: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float64], list[str], Skeleton]:
    """Predicted and true poses, (N, J, 3) mm each in the order of the data set, the image names or [], the joints.

    Row counts are the same, or DataError tells both.
    """
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
    return predicted_mm, true_mm, names, skeleton
