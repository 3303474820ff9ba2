"""Scores against labels of which some are missing: by hand, and as if nothing had been in the gaps."""

import numpy as np
import pytest

from integral_pose.contracts import Predictions
from integral_pose.evaluation.comparison import compare
from integral_pose.evaluation.intervals import sequence_interval
from integral_pose.evaluation.metrics import joint_errors_mm, summarise, swapped_sides
from integral_pose.evaluation.scores import score_predictions
from integral_pose.geometry.alignment import align_procrustes, align_scale
from integral_pose.skeleton import HUMAN36M

NAMES = [f"S{9 + 2 * (i % 2)}_Walking_{1 + i % 2}.54138969_{i + 1:06d}.jpg" for i in range(6)]


def poses(number=6, seed=0):
    return np.random.default_rng(seed).normal(0, 300, (number, 17, 3))


def with_gaps(true_mm):
    """A third of the joints, never the root, and in the last row all but the root."""
    gone = np.random.default_rng(1).random(true_mm.shape[:2]) < 1 / 3
    gone[:, 0], gone[-1, 1:] = False, True
    return np.where(gone[..., None], np.nan, true_mm), gone


def test_means_are_over_labelled_joints_by_hand():
    """Errors 0 (root), 30, missing; and 0, 60, 90: 180 over five joints."""
    true_mm = np.zeros((2, 17, 3))
    true_mm[:, 3:] = np.nan
    true_mm[0, 2] = np.nan
    predicted_mm = np.zeros((2, 17, 3))
    predicted_mm[0, 1, 0], predicted_mm[1, 1, 1], predicted_mm[1, 2, 2] = 30, 60, 90
    predicted_mm[:, 3:] = 1e6
    scores = score_predictions(Predictions(np.arange(2), predicted_mm), true_mm, NAMES[:2], HUMAN36M)
    assert scores.mpjpe_mm == pytest.approx(180 / 5)
    assert scores.per_joint_mm == pytest.approx({"Hip": 0, "RHip": 45, "RKnee": 90})
    assert scores.per_subject_mm == pytest.approx({"S9": 15, "S11": 50})
    assert scores.metrics["x_mm"] == pytest.approx(6)
    assert scores.metrics["pck_150"] == 1
    assert scores.interval_mm == pytest.approx([15, 50])


@pytest.mark.parametrize("gap", [np.nan, 1e30])
def test_alignments_are_of_labelled_joints(gap):
    """A pose that was turned, moved and scaled is brought back by the joints that remain."""
    true_mm, gone = with_gaps(poses())
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    predicted_mm = 0.5 * poses() @ turn + 40
    predicted_mm[gone] = 77
    errors_mm = joint_errors_mm(predicted_mm, true_mm, "pa_mpjpe", root=HUMAN36M.root)
    assert np.isnan(errors_mm[gone]).all()
    np.testing.assert_allclose(errors_mm[:-1][~gone[:-1]], 0, atol=1e-6)
    scaled = align_scale(0.5 * np.nan_to_num(true_mm), true_mm)
    np.testing.assert_allclose(scaled[:-1][~gone[:-1]], true_mm[:-1][~gone[:-1]])
    rigid = align_procrustes(2 * predicted_mm, true_mm, scale=False)
    np.testing.assert_allclose(rigid[:-1][~gone[:-1]], true_mm[:-1][~gone[:-1]], atol=1e-6)


def test_what_is_predicted_in_gaps_changes_no_metric():
    true_mm, gone = with_gaps(poses())
    predicted_mm = poses() + poses(seed=2) / 5
    other_mm = np.where(gone[..., None], 1234.0, predicted_mm)
    found = summarise(predicted_mm, true_mm, HUMAN36M)
    assert summarise(other_mm, true_mm, HUMAN36M) == pytest.approx(found, rel=1e-12)
    assert all(np.isfinite(value) for value in found.values())
    assert found["mpjpe_mm"] == pytest.approx(
        np.linalg.norm(predicted_mm - predicted_mm[:, :1] - true_mm + true_mm[:, :1], axis=-1)[:-1][~gone[:-1]].mean()
    )


def test_a_pair_with_a_gap_is_not_swapped():
    true_mm = poses(1)
    mirrored_mm = true_mm[:, HUMAN36M.flip_order]
    true_mm[0, HUMAN36M.names.index("LKnee")] = np.nan
    assert np.nan_to_num(swapped_sides(mirrored_mm, true_mm, HUMAN36M), nan=-1).tolist() == [[1, -1, 1, 1, 1, 1]]


def test_frames_weigh_what_they_have_labels_for():
    estimate = sequence_interval([10.0, 40.0], ["a", "b"], [1.0, 0.5])
    assert estimate.mean == pytest.approx(20)
    assert estimate.bounds == pytest.approx([10, 40])


def test_a_comparison_passes_over_frames_without_labels():
    true_mm, _ = with_gaps(poses())
    first_mm, second_mm = poses() + poses(seed=2) / 5, poses() + poses(seed=3) / 9
    comparison = compare([first_mm, second_mm], true_mm, NAMES, HUMAN36M)
    row = comparison.distances["mpjpe_mm"]
    assert row.num_frames == 5
    assert [value.mean for value in row.values] == pytest.approx([scores.mpjpe_mm for scores in comparison.scores])
    assert row.differences[0].mean == pytest.approx(row.values[1].mean - row.values[0].mean)
