"""Scores in a file and as text."""

import json

import numpy as np
import pytest

from integral_pose.contracts import Predictions, Scores
from integral_pose.errors import DataError
from integral_pose.evaluation.scores import score_predictions
from integral_pose.evaluation.scores_json import read_scores_json, write_scores_json
from integral_pose.evaluation.text_tables import markdown_table, scores_table
from integral_pose.skeleton import HUMAN36M


def scores():
    return Scores(
        mpjpe_mm=94.384,
        pa_mpjpe_mm=70.1,
        num_samples=10987,
        per_joint_mm={"Hip": 0.0, "RHip": 30.5, "Neck/Nose": 101.25},
        per_action_mm={"Walking": 80.0, "SittingDown": 120.5},
        per_subject_mm={"S9": 90.0, "S11": 99.0},
    )


def test_scores_as_json(tmp_path):
    path = tmp_path / "scores.json"
    write_scores_json(path, scores(), {"checkpoint": "best.pt", "auc": 0.5})
    read = json.loads(path.read_text())
    assert read.pop("checkpoint") == "best.pt"
    assert read.pop("auc") == 0.5
    assert read.pop("mean_over_actions_mm") == 100.25
    assert Scores(**read) == scores()
    with pytest.raises(ValueError, match="the scores have too: mpjpe_mm"):
        write_scores_json(path, scores(), {"mpjpe_mm": 1})
    with pytest.raises(DataError, match="not written, a score is NaN"):
        write_scores_json(path, Scores(float("nan"), 1.0, 1))
    assert json.loads(path.read_text())["mpjpe_mm"] == 94.384


def test_scores_for_the_terminal():
    assert scores_table(scores()) == (
        "MPJPE 94.38 mm   PA-MPJPE 70.10 mm   10987 images\n"
        "mean over frames 94.38 mm   mean of the 2 action means 100.25 mm\n"
        "\n"
        "action           mm    subject      mm    joint          mm\n"
        "Walking       80.00    S9        90.00    Hip          0.00\n"
        "SittingDown  120.50    S11       99.00    RHip        30.50\n"
        "                                          Neck/Nose  101.25\n"
    )
    assert scores_table(Scores(1.0, 0.5, 2)) == "MPJPE 1.00 mm   PA-MPJPE 0.50 mm   2 images\n"


def test_a_table_fits_into_80_columns():
    metrics = {
        **dict.fromkeys(("n_mpjpe_mm", "rigid_mpjpe_mm", "x_mm", "y_mm", "z_mm", "bone_length_mm", "sigma_mm"), 1234.5),
        **dict.fromkeys(("pck_150", "auc", "swapped_sides", "within_1_sigma", "within_2_sigma"), 1.0),
        "calibration_error": 0.1234,
    }
    found = Scores(1234.5, 1234.5, 312_188, metrics=metrics, interval_mm=[1000.25, 1500.25], num_sequences=1000)
    assert "along x 1234.50" in scores_table(found)
    assert max(map(len, scores_table(found).splitlines())) <= 80


def test_an_aligned_error_above_the_mpjpe_is_explained():
    true_mm = np.zeros((1, 17, 3))
    true_mm[0, 1:3, 0] = 0, 100
    predicted_mm = true_mm.copy()
    predicted_mm[0, 1, 1] = 60  # one joint is wrong, the other exact: any scale but 1 moves the exact one
    found = score_predictions(Predictions(np.arange(1), predicted_mm), true_mm, [], HUMAN36M)
    scale = 100**2 / (100**2 + 60**2)
    assert found.mpjpe_mm == pytest.approx(60 / 17)
    assert found.metrics["n_mpjpe_mm"] == pytest.approx((60 * scale + 100 * (1 - scale)) / 17)
    assert "N-MPJPE, rigid MPJPE, PA-MPJPE above MPJPE is no fault" in scores_table(found)
    exact = score_predictions(Predictions(np.arange(1), true_mm), true_mm, [], HUMAN36M)
    assert "above MPJPE" not in scores_table(exact)


def test_comparison_as_markdown():
    rows = [
        {"approach": "direct", "mpjpe_mm": 110.0, "epochs": 25},
        {"approach": "integral", "mpjpe_mm": None, "epochs": 5},
    ]
    assert markdown_table(rows) == (
        "| approach | mpjpe_mm | epochs |\n"
        "|----------|---------:|-------:|\n"
        "| direct   |   110.00 |     25 |\n"
        "| integral |        - |      5 |\n"
    )
    assert markdown_table([]) == ""
    with pytest.raises(ValueError, match="row 2 has the columns a; the first: a, b"):
        markdown_table([{"a": 1.0, "b": 1.0}, {"a": 1.0}])


def test_scores_come_back_with_what_stood_beside_them(tmp_path):
    scores = Scores(10.0, 8.0, 5, {"Hip": 0.0}, metrics={"auc": 0.5}, interval_mm=[9.0, 11.0])
    write_scores_json(tmp_path / "scores.json", scores, {"checkpoint": "best.pt"})
    assert read_scores_json(tmp_path / "scores.json") == (scores, {"checkpoint": "best.pt"})
    with pytest.raises(DataError, match=r"none.json: holds no scores of this program"):
        read_scores_json(tmp_path / "none.json")
