"""check-data on sets of other joints than Human3.6M's."""

import h5py
import pytest

from integral_pose.datasets.check import check_data
from tests.people_21 import PEOPLE_21


@pytest.fixture
def root(make_course):
    return make_course(has_21_joints=True, num_train=24)


def findings(root, sheet=None):
    report = check_data(root, sheet, show_progress=False)
    return {(f.split, f.check): f for f in report.findings}, report


def test_a_set_of_21_joints_passes_and_is_drawn(root, tmp_path):
    found, report = findings(root, tmp_path / "sheet.png")
    assert {finding.check for finding in report.offenders} <= {"bones constant"}  # poses are noise
    assert found["train", "left and right"].result.startswith("order official: ")
    assert report.sheet.exists()


def test_legs_under_each_others_names_are_bad(root):
    """Nothing turns them, as joints are named."""
    at = PEOPLE_21.names.index
    legs = [[at(f"{side}{joint}") for joint in ("Hip", "Knee", "Foot", "Toe")] for side in "LR"]
    with h5py.File(root / "annot/train.h5", "r+") as file:
        for column in ("pose2d", "pose3d"):
            values = file[column][()]
            values[:, legs[0] + legs[1]] = values[:, legs[1] + legs[0]]
            file[column][...] = values
    finding = findings(root)[0]["train", "left and right"]
    assert finding.is_bad
    assert finding.rows == ["the legs have each other's names"]


def test_sides_of_unknown_joints_are_not_guessed(root):
    path = root / "annot/skeleton.yaml"
    path.write_text(path.read_text().replace("Neck/Nose", "Chin"))
    found, report = findings(root)
    assert found["train", "left and right"].result == "not checked: there is no joint Neck/Nose"
    assert {finding.check for finding in report.offenders} <= {"bones constant"}  # poses are noise


def test_a_broken_skeleton_is_an_offender(root):
    path = root / "annot/skeleton.yaml"
    path.write_text(path.read_text().replace('"RHip": "Hip"', '"RHip": "Hips"'))
    found, report = findings(root)
    assert "skeleton.yaml" in found["train", "files"].result
    assert report.offenders
