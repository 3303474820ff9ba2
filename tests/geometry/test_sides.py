"""Left and right, told from the poses alone."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.geometry.sides import (
    doubt_of_sides,
    order_of_poses,
    require_official_order,
    side_evidence,
    to_human36m_order,
)
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


def bent(num_poses: int = 12) -> NDArray[np.float64]:
    """The same people with bent knees, 100 mm in front of their hips and feet."""
    poses, knees = standing(num_poses), [2, 5]
    front = poses[:, [9]] - (poses[:, [8]] + poses[:, [10]]) / 2
    poses[:, knees] += 100 * front / np.linalg.norm(front, axis=-1, keepdims=True)
    return poses


def chins_moved(poses: NDArray[np.float64], forward_mm: float) -> NDArray[np.float64]:
    """Chins so far in front of the line from thorax to head; negative is behind it."""
    moved, middle = poses.copy(), (poses[:, 8] + poses[:, 10]) / 2
    front = poses[:, 9] - middle
    moved[:, 9] = middle + forward_mm * front / np.linalg.norm(front, axis=-1, keepdims=True)
    return moved


def test_known_answer() -> None:
    assert side_evidence(standing()) == (pytest.approx(1), (12, 0), (0, 0), 12)
    assert side_evidence(bent()) == (pytest.approx(1), (12, 0), (24, 0), 12)
    assert side_evidence(bent() * [-1, 1, 1]) == (pytest.approx(1), (0, 12), (0, 24), 12)
    assert side_evidence(to_human36m_order(bent(), "c2f")) == (pytest.approx(-1), (12, 0), (24, 0), 12)


def test_rounding_does_not_decide() -> None:
    rng = np.random.default_rng(0)
    for forward_mm in (-9.0, 0.0, 9.0):  # less than the margin of 1 cm
        for poses in (standing(), bent()):
            noisy = chins_moved(poses, forward_mm) + rng.normal(0, 1e-6, (12, 17, 3))
            assert order_of_poses(noisy, "auto", "x") == "official"
            assert doubt_of_sides(noisy, "auto", "x") is None


def test_knees_that_contradict_the_chins_make_a_warning_of_the_refusal() -> None:
    behind = chins_moved(bent(), -40.0)
    assert order_of_poses(behind, "auto", "x") == "official"
    assert re.search("chins or knees are behind.*12 backward; knees 24, 0", doubt_of_sides(behind, "auto", "x") or "")
    assert doubt_of_sides(behind, "official", "x") is None
    with pytest.raises(DataError, match="mirrored"):  # nothing speaks for them
        order_of_poses(chins_moved(standing(), -40.0), "auto", "x")


@pytest.mark.parametrize("degrees", [45, 90, 135])
def test_people_who_lean_are_not_mirrored(degrees: float) -> None:
    poses = np.repeat(bent(1), 12, axis=0)  # they face the camera
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    y, z = poses[:, 7:, 1].copy(), poses[:, 7:, 2].copy()
    poses[:, 7:, 1], poses[:, 7:, 2] = cosine * y - sine * z, sine * y + cosine * z
    assert order_of_poses(poses, "auto", "x") == "official"
    with pytest.raises(DataError, match="mirrored"):
        order_of_poses(chins_moved(np.concatenate([poses, bent(40)]), 60) * [-1, 1, 1], "auto", "x")


def test_mirrored_people_are_refused_however_few() -> None:
    for count in (3, 4, 12):
        with pytest.raises(DataError, match="mirrored"):
            order_of_poses(bent(count) * [1, 1, -1], "auto", "x")
    with pytest.raises(DataError, match="mirrored"):  # the legs are in the coarse-to-fine order besides
        order_of_poses(to_human36m_order(bent(), "c2f") * [1, 1, -1], "auto", "x")
    assert order_of_poses(bent(1) * [-1, 1, 1], "auto", "x") == "official"  # two knees and a chin tell little


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


def test_mirrored_poses_are_an_error_that_a_setting_overrules() -> None:
    mirrored = bent() * [-1, 1, 1]
    with pytest.raises(
        DataError, match=r"train\.h5: the poses are mirrored: .*set data.joint_order.*to official, or c2f"
    ):
        order_of_poses(mirrored, "auto", "train.h5")
    for setting in ("official", "c2f"):
        assert order_of_poses(mirrored, setting, "train.h5") == setting
        assert f"used since data.joint_order is {setting}" in (doubt_of_sides(mirrored, setting, "train.h5") or "")


def test_converters_that_know_the_order_refuse_any_other() -> None:
    require_official_order(bent(), "x")
    with pytest.raises(DataError, match=r"annot\.mat: the left leg is at 1-3"):
        require_official_order(to_human36m_order(bent(), "c2f"), "annot.mat")
    with pytest.raises(DataError, match=r"annot\.mat: the poses are mirrored"):
        require_official_order(bent() * [-1, 1, 1], "annot.mat")


def test_poses_that_do_not_tell_are_as_the_setting_says() -> None:
    noise = np.random.default_rng(0).normal(size=(50, 17, 3))
    assert side_evidence(noise).order == "unclear"
    assert [order_of_poses(noise, setting, "x") for setting in ("auto", "official", "c2f")] == [
        "official", "official", "c2f",
    ]  # fmt: skip
    assert side_evidence(np.zeros((3, 17, 3))).order == "unclear"
