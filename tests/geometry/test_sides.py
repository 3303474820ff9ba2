"""Left and right, told from the poses alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.geometry.sides import order_of_poses, side_evidence, to_human36m_order
from integral_pose.skeleton import HUMAN36M


def standing(num_poses: int = 12) -> NDArray[np.float64]:
    """People who face the camera (their left is at +x, x right, y down, z forward), each turned by another angle."""
    pose = np.zeros((17, 3))
    pose[:, 1] = [0, 0, 400, 800, 0, 400, 800, -250, -500, -600, -700, -450, -200, 0, -450, -200, 0]
    for name, side in (("R", -1), ("L", 1)):
        for joint in ("Hip", "Knee", "Foot", "Shoulder", "Elbow", "Wrist"):
            pose[HUMAN36M.names.index(name + joint), 0] = side * 130
    pose[9, 2] = -80  # the chin stands out towards the camera
    angles = np.linspace(0, 2 * np.pi, num_poses, endpoint=False)
    turns = np.array([[[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]] for a in angles])
    return np.einsum("nab,jb->nja", turns, pose)


def test_known_answer() -> None:
    evidence = side_evidence(standing())
    assert (evidence.hips, evidence.shoulders, evidence.num_poses) == (pytest.approx(1), pytest.approx(1), 12)


def test_exchanged_legs_are_found_and_turned() -> None:
    official = standing()
    legs_exchanged = official[:, [0, 4, 5, 6, 1, 2, 3, *range(7, 17)]]
    assert order_of_poses(official, "auto", "x") == "official"
    assert order_of_poses(legs_exchanged, "auto", "x") == "c2f"
    np.testing.assert_array_equal(to_human36m_order(legs_exchanged, "c2f"), official)
    assert to_human36m_order(official, "official") is official


@pytest.mark.parametrize(("setting", "found"), [("official", "c2f"), ("c2f", "official")])
def test_a_setting_that_the_poses_contradict_is_an_error_that_explains_itself(setting: str, found: str) -> None:
    poses = to_human36m_order(standing(), found)  # the permutation is its own inverse
    with pytest.raises(DataError, match=rf"train.h5: data.joint_order says '{setting}'.*order '{found}'.*auto or"):
        order_of_poses(poses, setting, "train.h5")


def test_mirrored_poses_are_an_error_whatever_the_setting() -> None:
    for setting in ("auto", "official", "c2f"):
        with pytest.raises(DataError, match="mirrored"):
            order_of_poses(standing() * [-1, 1, 1], setting, "train.h5")


def test_poses_that_do_not_tell_are_as_the_setting_says() -> None:
    noise = np.random.default_rng(0).normal(size=(50, 17, 3))
    assert side_evidence(noise).order == "unclear"
    assert [order_of_poses(noise, setting, "x") for setting in ("auto", "official", "c2f")] == [
        "official", "official", "c2f",
    ]  # fmt: skip
    assert side_evidence(np.zeros((3, 17, 3))).order == "unclear"
