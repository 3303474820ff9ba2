import numpy as np
import pytest

from integral_pose.contracts import Predictions
from integral_pose.errors import DataError
from integral_pose.evaluation.scores import mean_over_actions_mm, score_predictions
from integral_pose.evaluation.text_tables import scores_table
from integral_pose.skeleton import Skeleton

THREE = Skeleton(("Hip", "RHip", "LHip"), {"RHip": "Hip", "LHip": "Hip"}, (("LHip", "RHip"),))
NAMES = [
    "S9_Walking_1.54138969_000001.jpg",
    "S11_Walking.54138969_000001.jpg",
    "S11_TakingPhoto_2.54138969_000006.jpg",
]
TRUE_MM = np.tile(np.array([[0.0, 0, 0], [100, 0, 0], [0, 200, 50]]), (3, 1, 1))
# Per frame the error of RHip and of LHip; the root's is 0.
ERRORS_MM = np.array([[3.0, 6.0], [9.0, 0.0], [30.0, 60.0]])


def predictions(order=(0, 1, 2)):
    joints = TRUE_MM.copy()
    joints[:, 1, 2] += ERRORS_MM[:, 0]
    joints[:, 2, 0] += ERRORS_MM[:, 1]
    order = np.array(order)
    return Predictions(order, joints[order])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_means_by_hand_in_whatever_order_the_rows_come(order):
    scores = score_predictions(predictions(order), TRUE_MM, NAMES, THREE)
    assert scores.mpjpe_mm == pytest.approx(12)  # 108 / 9
    assert scores.num_samples == 3
    assert scores.per_joint_mm == pytest.approx({"Hip": 0, "RHip": 14, "LHip": 22})
    assert scores.per_action_mm == pytest.approx({"Photo": 30, "Walking": 3})
    assert scores.per_subject_mm == pytest.approx({"S9": 3, "S11": 16.5})
    assert list(scores.per_subject_mm) == ["S9", "S11"]
    assert mean_over_actions_mm(scores) == pytest.approx(16.5)
    assert 0 < scores.pa_mpjpe_mm < scores.mpjpe_mm


def test_labels_need_not_be_root_relative():
    moved = TRUE_MM + np.array([10.0, -20, 4000])
    assert score_predictions(predictions(), moved, NAMES, THREE).mpjpe_mm == pytest.approx(12)


def test_without_names_there_are_no_groups():
    for names in ([], ["a.jpg", "b.jpg", "c.jpg"]):
        scores = score_predictions(predictions(), TRUE_MM, names, THREE)
        assert (scores.per_action_mm, scores.per_subject_mm) == ({}, {})
        assert mean_over_actions_mm(scores) is None


def test_names_of_another_form_among_the_rest_are_a_group_of_their_own():
    scores = score_predictions(predictions(), TRUE_MM, [*NAMES[:2], "stranger.jpg"], THREE)
    assert scores.per_action_mm == pytest.approx({"Walking": 3, "other": 30})
    assert list(scores.per_subject_mm) == ["S9", "S11", "other"]
    assert mean_over_actions_mm(scores) == pytest.approx(3)  # `other` is no action
    assert "mean of the 1 action means 3.00 mm" in scores_table(scores)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 2], "row 1 is predicted 0 times; each of the labels. rows 0 to 2 has to be"),
        ([0, 1, 1, 2], "row 1 is predicted 2 times"),
        ([0, 1, 2, 7], "row 7 is predicted 1 times; each of the labels. rows 0 to 2"),
        ([-1, 0, 1, 2], "row -1 is predicted 1 times"),
    ],
)
def test_every_row_once(indices, message):
    joints = np.resize(TRUE_MM, (len(indices), 3, 3))
    with pytest.raises(DataError, match=message):
        score_predictions(Predictions(np.array(indices), joints), TRUE_MM, NAMES, THREE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_names_row_image_and_joint(value):
    predicted = predictions((2, 1, 0))
    predicted.joints_camera_mm[1, 2, 0] = value
    with pytest.raises(DataError, match=rf"predicted pose of row 1 \({NAMES[1]}\) is .* at LHip; 1 of 3 rows"):
        score_predictions(predicted, TRUE_MM, NAMES, THREE)
    labels = TRUE_MM.copy()
    labels[2] = np.inf
    with pytest.raises(DataError, match=r"true pose of row 2 .* at Hip; .* NaN means no label"):
        score_predictions(predictions(), labels, [], THREE)
    with pytest.raises(DataError, match="no joint that counts is labelled in mm"):
        score_predictions(predictions(), np.full_like(TRUE_MM, np.nan), [], THREE)


def test_counts_and_shapes_must_agree():
    with pytest.raises(DataError, match="2 image names for 3 labelled rows"):
        score_predictions(predictions(), TRUE_MM, NAMES[:2], THREE)
    with pytest.raises(DataError, match=r"predictions have shape \(3, 2, 3\) for 3 rows, the labels \(3, 3, 3\)"):
        score_predictions(Predictions(np.arange(3), TRUE_MM[:, :2]), TRUE_MM, NAMES, THREE)
    with pytest.raises(DataError, match="nothing to score"):
        score_predictions(Predictions(np.arange(0), TRUE_MM[:0]), TRUE_MM[:0], [], THREE)
