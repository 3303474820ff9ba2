"""The distance of a person of known bone length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from integral_pose.geometry.root_depth import NEAREST_MM, root_depth_by_bone_length
from integral_pose.skeleton import HUMAN36M

BONES = HUMAN36M.bones


def draw_people(seed, number=2):
    """Random bodies (N, 17, 3) mm from the camera's centre, float64, their hips 2 to 9 m away."""
    rng = np.random.default_rng(seed)
    roots_mm = rng.uniform([-1500, -800, 2000], [1500, 800, 9000], (number, 3))
    bodies_mm = rng.normal(0, 300, (number, 17, 3)).clip(-900, 900)
    return torch.tensor(roots_mm[:, None] + bodies_mm - bodies_mm[:, :1])


def total_length_mm(joints_mm):
    return sum((joints_mm[:, a] - joints_mm[:, b]).norm(dim=-1) for a, b in BONES)


def fit(joints_mm, length_mm, *, shift_mm=0.0):
    """The depth of one person by (1, J, 3) mm from the camera, whose relative depths may count from elsewhere."""
    relative_mm = joints_mm[..., 2] - joints_mm[:, :1, 2] + shift_mm
    return root_depth_by_bone_length(joints_mm[..., :2] / joints_mm[..., 2:], relative_mm, BONES, length_mm, 0)


def test_one_bone_by_hand():
    # 300 mm across at the root's depth Z, and 400 mm in depth: 500 mm where 0.1 (Z + 400) = 300.
    plane, depth_mm = torch.tensor([[[0.0, 0], [0.1, 0]]]), torch.tensor([[7.0, 407]])
    found = root_depth_by_bone_length(plane, depth_mm, [(1, 0)], 500.0, root=0)
    assert found.tolist() == pytest.approx([2600.0], rel=1e-6)
    # Counted from the other end it is the same bone.
    found = root_depth_by_bone_length(plane, depth_mm, [(0, 1)], 500.0, root=1)
    assert found.tolist() == pytest.approx([3000.0], rel=1e-6)


@given(st.integers(0, 10_000))
def test_projected_people_are_found_where_they_stand(seed):
    for person_mm in draw_people(seed).split(1):
        length_mm = float(total_length_mm(person_mm))
        found_mm, true_mm = float(fit(person_mm, length_mm, shift_mm=123.0)), float(person_mm[0, 0, 2])
        assert found_mm >= true_mm - 1e-3  # never the nearer of two
        at_found_mm = lifted(person_mm, found_mm)
        assert float(total_length_mm(at_found_mm)) == pytest.approx(length_mm, abs=1e-6)
        if slope(person_mm) > 0:
            assert found_mm == pytest.approx(true_mm, abs=1e-3)


def lifted(person_mm, root_depth_mm):
    """The person as the camera sees it, with the hip at another depth."""
    depth_mm = person_mm[..., 2:] - person_mm[:, :1, 2:] + root_depth_mm
    return torch.cat([person_mm[..., :2] / person_mm[..., 2:] * depth_mm, depth_mm], -1)


def slope(person_mm):
    """By how much the bones grow a mm of distance, by central differences."""
    depth_mm = float(person_mm[0, 0, 2])
    return float(total_length_mm(lifted(person_mm, depth_mm + 1)) - total_length_mm(lifted(person_mm, depth_mm - 1)))


def test_a_standing_person_in_float32_and_in_a_batch():
    standing_mm = draw_people(5, number=3)
    standing_mm = standing_mm * torch.tensor([1.0, 1.0, 0.2]) + torch.tensor([0, 0, 4000.0])
    relative_mm = standing_mm[..., 2] - standing_mm[:, :1, 2]
    plane = standing_mm[..., :2] / standing_mm[..., 2:]
    # One length for all: each is found where it would be that long.
    length_mm = float(total_length_mm(standing_mm)[0])
    for dtype, tolerance_mm in ((torch.float64, 1e-6), (torch.float32, 0.02)):
        found = root_depth_by_bone_length(plane.to(dtype), relative_mm.to(dtype), BONES, length_mm, 0)
        assert found.dtype == dtype
        assert found.shape == (3,)
        assert float(found[0]) == pytest.approx(float(standing_mm[0, 0, 2]), abs=tolerance_mm)
        for person_mm, depth_mm in zip(standing_mm.split(1), found.tolist(), strict=True):
            assert float(total_length_mm(lifted(person_mm, depth_mm))) == pytest.approx(length_mm, abs=tolerance_mm)


def test_the_farther_of_two_depths_and_the_shortest_where_there_is_none():
    # Joints at 0.2 Z and 0.1 (Z + 1000) mm across, 1000 mm apart in depth: one before the other at Z = 1000.
    plane, depth_mm = torch.tensor([[[0.2, 0], [0.1, 0]]]).double(), torch.tensor([[0.0, 1000]]).double()

    def depth_of(length_mm):
        return float(root_depth_by_bone_length(plane, depth_mm, [(1, 0)], length_mm, root=0))

    assert depth_of((1000**2 + 50**2) ** 0.5) == pytest.approx(1500, abs=1e-3)  # 500 mm would do as well
    assert depth_of(800.0) == pytest.approx(1000, abs=1e-3)


def test_every_joint_stays_in_front_of_the_camera():
    # The bone from the hip is least at Z = 1000, its other end then at the camera; a third joint needs 3000.
    plane = torch.tensor([[[0.0, 0], [0.1, 0], [0.0, 0]]]).double()
    depth_mm = torch.tensor([[0.0, -1000, -3000]]).double()
    found = root_depth_by_bone_length(plane, depth_mm, [(1, 0)], 800.0, root=0)
    assert found.tolist() == pytest.approx([3000 + NEAREST_MM])


def test_the_shortest_sum_may_be_farther_than_the_length_over_the_angles():
    # One bone is shortest at Z = 3000, (0.1 (Z - 3000), 100), the other, 0.05 Z, at the camera. Their slopes cancel
    # where the first is half of 0.1: 0.1 (3000 - Z) = 100 / sqrt(3). Lengths over angles: 301 / 0.15 = 2007 mm.
    plane = torch.tensor([[[3.1, 0], [3.0, 0], [0.0, 0], [0.05, 0]]]).double()
    depth_mm = torch.tensor([[0.0, 100, 0, 0]]).double()
    found = root_depth_by_bone_length(plane, depth_mm, [(1, 0), (3, 2)], 1.0, root=0)
    assert found.tolist() == pytest.approx([3000 - 1000 / 3**0.5], abs=1e-2)


@given(st.integers(0, 10_000))
def test_bones_of_almost_no_length_are_as_short_as_they_can_be(seed):
    rng = np.random.default_rng(seed)
    plane, depth_mm = torch.tensor(rng.normal(0, 1, (1, 4, 2))), torch.tensor(rng.normal(0, 500, (1, 4)))
    bones = [(1, 0), (2, 0), (3, 0)]
    found_mm = float(root_depth_by_bone_length(plane, depth_mm, bones, 1.0, root=0))
    from_hip_mm = depth_mm - depth_mm[:, :1]
    candidates_mm = torch.tensor([found_mm, *range(5001)], dtype=torch.float64)
    candidates_mm = candidates_mm[candidates_mm >= NEAREST_MM - float(from_hip_mm.min()) - 1e-6]
    z_mm = candidates_mm[:, None] + from_hip_mm
    joints_mm = torch.cat([plane * z_mm[..., None], z_mm[..., None]], -1)
    lengths_mm = sum((joints_mm[:, a] - joints_mm[:, b]).norm(dim=-1) for a, b in bones)
    assert candidates_mm[0] == found_mm
    assert float(lengths_mm[0]) <= float(lengths_mm.min()) + 1e-6


def test_what_has_no_depth_is_nan():
    plane = torch.tensor([[[0.1, 0.2], [0.1, 0.2]], [[0.0, 0.0], [0.1, 0.0]], [[float("nan"), 0], [0.1, 0]]])
    found = root_depth_by_bone_length(plane, torch.zeros(3, 2), [(1, 0)], 500.0, root=0)
    assert found.isnan().tolist() == [True, False, True]
    assert float(found[1]) == pytest.approx(5000)
    with pytest.raises(ValueError, match="expected bones and their length, found 0 and 500 mm"):
        root_depth_by_bone_length(plane, torch.zeros(3, 2), [], 500.0, root=0)
    with pytest.raises(ValueError, match="found 1 and -1 mm"):
        root_depth_by_bone_length(plane, torch.zeros(3, 2), [(1, 0)], -1.0, root=0)
