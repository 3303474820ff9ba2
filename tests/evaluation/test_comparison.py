"""Runs side by side: means, differences and intervals that can be worked out by hand."""

import numpy as np
import pytest

from integral_pose.contracts import Scores
from integral_pose.errors import DataError
from integral_pose.evaluation.comparison import compare, compare_scores
from integral_pose.evaluation.intervals import Estimate, paired_interval
from integral_pose.skeleton import Skeleton

THREE = Skeleton(("Hip", "LHip", "RHip"), {"LHip": "Hip", "RHip": "Hip"}, (("LHip", "RHip"),))
NAMES = [
    f"{subject}_{action}_1.{camera}_000001.jpg"
    for subject, action, camera in (
        ("S9", "Walking", 1), ("S9", "Walking", 2), ("S9", "Posing", 1),
        ("S11", "Walking", 1), ("S11", "Posing", 1), ("S11", "Posing", 2),
    )
]  # fmt: skip
TRUE_MM = np.zeros((6, 3, 3)) + np.array([[0, 0, 0], [100, 0, 0], [-100, 0, 0]])


def shifted(by_frame_mm):
    """Predictions whose LHip is off by so many mm in each frame."""
    poses_mm = TRUE_MM.copy()
    poses_mm[:, 1, 2] += by_frame_mm
    return poses_mm


@pytest.fixture
def found():
    return compare([shifted([30] * 6), shifted([60, 60, 60, 90, 90, 90])], TRUE_MM, NAMES, THREE)


def row(rows, name):
    return next(row for row in rows if row.name == name)


def test_means_and_differences_by_hand(found):
    main = found.distances["mpjpe_mm"]
    assert [value.mean for value in main.values] == pytest.approx([10, 25])
    assert main.values[0] == pytest.approx((10, 10, 10))  # every frame has the same error
    assert main.differences[0].mean == pytest.approx(15)  # of the second less the first
    hip, left, right = found.groups["joint"]
    assert [value.mean for value in left.values] == pytest.approx([30, 75])
    assert left.differences[0].mean == pytest.approx(45)
    assert hip.values[1].mean == right.differences[0].mean == 0
    np.testing.assert_allclose(found.frame_errors_mm[1], [20, 20, 20, 30, 30, 30])


def test_groups_hold_their_own_frames(found):
    assert {kind: [row.name for row in rows] for kind, rows in found.groups.items()} == {
        "joint": ["Hip", "LHip", "RHip"], "action": ["Posing", "Walking"], "subject": ["S9", "S11"],
        "camera": ["1", "2"],
    }  # fmt: skip
    posing, walking = found.groups["action"]
    assert (posing.num_frames, posing.num_sequences) == (3, 2)
    assert posing.values[1].mean == pytest.approx((20 + 30 + 30) / 3)
    assert walking.differences[0].mean == pytest.approx((10 + 10 + 20) / 3)
    assert row(found.groups["subject"], "S11").values[1].mean == pytest.approx(30)


def test_the_interval_is_the_paired_one(found):
    sequences = ["S9 Walking", "S9 Walking", "S9 Posing", "S11 Walking", "S11 Posing", "S11 Posing"]
    expected = paired_interval([10] * 6, found.frame_errors_mm[1], sequences)
    assert found.distances["mpjpe_mm"].differences[0] == pytest.approx(expected)
    assert expected.low > 0
    assert found.distances["mpjpe_mm"].differences[0].excludes_zero


def test_one_sequence_has_no_interval():
    found = compare([shifted([30] * 6)], TRUE_MM, [NAMES[0]] * 6, THREE)
    only = found.groups["action"][0]
    assert only.values[0] == Estimate(pytest.approx(10), None, None)
    assert (only.num_sequences, only.differences) == (1, [])


def test_names_that_say_nothing_leave_joints_alone():
    found = compare([shifted([30] * 6)] * 2, TRUE_MM, [], THREE)
    assert list(found.groups) == ["joint"]
    assert found.groups["joint"][1].differences[0] == (0, None, None)
    assert found.groups["joint"][1].num_sequences is None


def test_of_other_lengths():
    with pytest.raises(DataError, match="the predictions have shape"):
        compare([TRUE_MM[:5]], TRUE_MM, NAMES, THREE)


def test_scores_alone_give_means():
    first = Scores(10, 8, 5, {"Hip": 0.0, "LHip": 30.0}, metrics={"mpjpe_mm": 10.0, "pa_mpjpe_mm": 8.0},
                   interval_mm=[9.0, 11.0])  # fmt: skip
    second = Scores(12, 9, 5, {"LHip": 36.0}, metrics={"mpjpe_mm": 12.0})
    found = compare_scores([first, second])
    assert {name: list(row.values) for name, row in found.distances.items()} == {
        "mpjpe_mm": [(10, 9, 11), (12, None, None)],
        "pa_mpjpe_mm": [(8, None, None), (9, None, None)],
    }
    assert [(row.name, list(row.values), row.differences) for row in found.groups["joint"]] == [
        ("LHip", [Estimate(30), Estimate(36)], ())
    ]
    assert list(found.groups) == ["joint"]
