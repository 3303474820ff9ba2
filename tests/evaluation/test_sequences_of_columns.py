"""Intervals over the recordings that a column of the labels names, for pictures whose names do not say them."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from integral_pose.data.course import read_test
from integral_pose.datasets.check import check_data
from integral_pose.errors import DataError
from integral_pose.evaluation.comparison import compare
from integral_pose.evaluation.csv_scores import compare_csv, score_csv
from integral_pose.evaluation.intervals import sequence_interval
from integral_pose.evaluation.predictions_csv import write_predictions_csv
from integral_pose.skeleton import HUMAN36M
from tests.conftest import write_course

SUBJECTS, SEQUENCES = [1, 1, 1, 2], [b"walk", b"walk", b"sit", b"sit"]
RECORDINGS = ["1 walk", "1 walk", "1 sit", "2 sit"]  # sitting of two people is two recordings
OFF_MM = np.array([17, 34, 68, 136])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four test pictures a.jpg ..; off.csv is OFF_MM wrong at one joint of each, true.csv nowhere."""
    root = write_course(tmp_path / "course", num_valid=4)
    old = (root / "annot/valid_images.txt").read_text().split()
    for name, letter in zip(old, "abcd", strict=True):
        (root / "images" / name).rename(root / "images" / f"{letter}.jpg")
    (root / "annot/valid_images.txt").write_text("a.jpg\nb.jpg\nc.jpg\nd.jpg\n")
    with h5py.File(root / "annot/valid.h5", "r+") as file:
        file["subject"], file["sequence"] = SUBJECTS, SEQUENCES
        poses_mm = file["pose3d"][()] - file["pose3d"][:, :1]
    write_predictions_csv(root / "true.csv", poses_mm, HUMAN36M)
    poses_mm[:, 3, 1] += OFF_MM
    write_predictions_csv(root / "off.csv", poses_mm, HUMAN36M)
    return root


@pytest.mark.parametrize("has_list", [True, False])
def test_intervals_are_over_what_the_column_says(root: Path, has_list: bool) -> None:
    if not has_list:
        (root / "annot/valid_images.txt").unlink()
    truth = root / "annot/valid.h5"
    expected = sequence_interval(OFF_MM / 17, RECORDINGS)
    scores = score_csv(root / "off.csv", truth)
    assert scores.num_sequences == 3
    assert scores.interval_mm == pytest.approx(expected.bounds, abs=1e-3)
    assert compare_csv(root / "off.csv", root / "true.csv", truth) == pytest.approx(expected, abs=1e-3)


def test_rows_of_a_table_keep_their_sequence(root: Path) -> None:
    table = read_test(root)
    assert table.sequences.tolist() == RECORDINGS
    assert table.take(np.array([3, 0])).sequences.tolist() == ["2 sit", "1 walk"]


def test_runs_side_by_side_are_paired_by_them(root: Path) -> None:
    table = read_test(root)
    poses_mm = table.joints_camera_mm.copy()
    poses_mm[:, 3, 1] += OFF_MM
    found = compare([table.joints_camera_mm, poses_mm], table.joints_camera_mm, list("abcd"), HUMAN36M, table.sequences)
    row = found.distances["mpjpe_mm"]
    assert row.num_sequences == 3
    assert row.differences[0] == pytest.approx(sequence_interval(OFF_MM / 17, RECORDINGS), abs=1e-3)


def test_sequences_without_subjects_are_taken_as_they_are(root: Path) -> None:
    with h5py.File(root / "annot/valid.h5", "r+") as file:
        del file["subject"], file["sequence"]
        file["sequence"] = [7, 7, 8, 8]
    assert score_csv(root / "off.csv", root / "annot/valid.h5").num_sequences == 2


def test_without_column_and_names_what_is_needed_is_said(root: Path) -> None:
    with h5py.File(root / "annot/valid.h5", "r+") as file:
        del file["sequence"]
    assert score_csv(root / "off.csv", root / "annot/valid.h5").interval_mm is None
    with pytest.raises(DataError, match="two sequences at least, by image names of .* the column 'sequence', found 0"):
        compare_csv(root / "off.csv", root / "true.csv", root / "annot/valid.h5")


def test_a_column_of_another_length_is_refused(root: Path) -> None:
    with h5py.File(root / "annot/valid.h5", "r+") as file:
        del file["sequence"]
        file["sequence"] = [1, 2]
    with pytest.raises(DataError, match=r"valid\.h5: 'sequence' has the shape \(2,\), expected \(4,\)"):
        read_test(root)
    assert "'sequence' has the shape (2,), expected (4,)" in check_data(root, show_progress=False).table()
