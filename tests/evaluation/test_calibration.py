"""Standard deviations that are right by construction, too small, too large, and counted by hand."""

import math

import numpy as np
import pytest

from integral_pose.contracts import Predictions
from integral_pose.errors import DataError
from integral_pose.evaluation.calibration import calibration, share_claimed
from integral_pose.evaluation.predictions_csv import write_sigma_csv
from integral_pose.evaluation.scores import score_predictions
from integral_pose.evaluation.text_tables import scores_table
from integral_pose.skeleton import Skeleton

THREE = Skeleton(("Root", "A", "B"), {"A": "Root", "B": "Root"}, ())


def test_claims_by_hand():
    expected = [0, 1 - 5 * math.exp(-2), 1 - 13 * math.exp(-4), 1]
    assert share_claimed([0, 1, 2, 50]).tolist() == pytest.approx(expected)


def test_errors_that_are_as_claimed_are_calibrated():
    """Directions uniform, distances Gamma(3, b): sigma = 2 b is their standard deviation along an axis."""
    rng = np.random.default_rng(0)
    sigma = rng.uniform(5, 200, 100_000)
    directions = rng.normal(size=(100_000, 3))
    errors = rng.gamma(3, sigma / 2)[:, None] * directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    assert (errors / sigma[:, None]).std(0) == pytest.approx(1, abs=0.02)
    found = calibration(np.linalg.norm(errors, axis=-1), sigma)
    assert found["within_1_sigma"] == pytest.approx(0.3233, abs=0.005)
    assert found["within_2_sigma"] == pytest.approx(0.7619, abs=0.005)
    assert found["calibration_error"] < 0.004
    assert found["sigma_mm"] == pytest.approx(102.5, abs=0.5)


def test_calibration_by_hand():
    """Two of four errors within 1 sigma, three within 2; shares of 1/2 until F(1.5) = 0.577, of 3/4 until F(2.5)."""
    found = calibration([[5.0, 10], [15, 50]], [[10.0, 10], [10, 20]])
    assert (found["within_1_sigma"], found["within_2_sigma"], found["sigma_mm"]) == (0.5, 0.75, 12.5)
    # F at 0.5, 1, 1.5 and 2.5 sigma is 0.080, 0.323, 0.577, 0.875: shares 1/4 to 0.3, 1/2 to 0.5, 3/4 to 0.8, 1 at 0.9
    by_hand = [0.15, 0.05, 0.05, 0.1, 0, 0.15, 0.05, 0.05, 0.1]
    assert found["calibration_error"] == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize(("sigma", "share"), [(0.0, 0.0), (1e9, 1.0)])
def test_no_doubt_and_boundless_doubt_are_half_off(sigma, share):
    found = calibration(np.full(5, 100.0), np.full(5, sigma))
    assert (found["within_1_sigma"], found["within_2_sigma"]) == (share, share)
    assert found["calibration_error"] == pytest.approx(0.5)
    assert calibration([0.0], [0.0])["within_1_sigma"] == 1


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="a sigma for each"):
        calibration([1.0, 2.0], [1.0])


def test_scores_have_the_calibration_of_all_joints_but_the_root():
    true_mm = np.zeros((2, 3, 3))
    predicted_mm, sigma_mm = true_mm.copy(), np.array([[0.0, 10, 10], [0, 20, 20]], np.float32)
    predicted_mm[:, 1, 0], predicted_mm[:, 2, 1] = 15, 30  # 1.5 and 3 sigma of row 0, 0.75 and 1.5 of row 1
    order = np.array([1, 0])
    scores = score_predictions(Predictions(order, predicted_mm, sigma_mm=sigma_mm[order]), true_mm, [], THREE)
    assert scores.metrics["within_1_sigma"] == 0.25
    assert scores.metrics["within_2_sigma"] == 0.75
    assert scores.metrics["sigma_mm"] == 15
    assert "errors within 1 sigma 25.0% (32.3% claimed), within 2 75.0% (76.2%)" in scores_table(scores)
    without = score_predictions(Predictions(order, predicted_mm), true_mm, [], THREE)
    assert "sigma" not in scores_table(without)


def test_sigma_csv(tmp_path):
    write_sigma_csv(tmp_path / "sigma.csv", np.array([[0.0, 1.5, 2], [0, 3, 4]], np.float32), THREE)
    assert (tmp_path / "sigma.csv").read_text() == "Id,Root_sigma,A_sigma,B_sigma\n1,0,1.5,2\n2,0,3,4\n"
    with pytest.raises(DataError, match="expected standard deviations"):
        write_sigma_csv(tmp_path / "sigma.csv", np.zeros((2, 2), np.float32), THREE)
