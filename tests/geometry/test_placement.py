"""Poses put back where they were made: by their box, by their bones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integral_pose.errors import DataError
from integral_pose.geometry.placement import (
    fit_root_to_box,
    fit_to_box,
    pinhole,
    root_depth_by_bones,
    scale_by_bones,
)

CAMERA = pinhole((1100.0, 900.0, 480.0, 310.0), 1000, 600)
BONES = ((1, 0), (2, 0), (3, 2))
POSE_MM = np.array([[0.0, 0, 0], [-300, 400, 100], [200, -500, -250], [350, -450, 300]])


def total_length(joints):
    return sum(np.linalg.norm(joints[child] - joints[parent]) for child, parent in BONES)


def box_of(points_px):
    lower, upper = points_px.min(0), points_px.max(0)
    return np.concatenate([lower, upper - lower])


def test_a_pinhole_by_hand():
    # 1100 * 200 / 2000 + 480 and 900 * -100 / 2000 + 310
    np.testing.assert_allclose(CAMERA.camera_to_image_px(np.array([200.0, -100, 2000])), [590, 265])


def test_a_pose_fills_its_box():
    pose_mm = np.array([[0.0, 0, 5], [100, 200, 7], [-100, 0, 0]])  # 200 x 200 mm
    fitted_px = fit_to_box(pose_mm, np.array([10.0, 20, 50, 50]))  # 0.25 px a mm
    np.testing.assert_allclose(fitted_px, [[35, 20], [60, 70], [10, 20]])


def test_sides_that_do_not_fit_share_the_difference():
    # 100 x 200 mm into 60 x 100 px: (100 * 60 + 200 * 100) / (100^2 + 200^2) = 0.52 px a mm, about the middle (30, 50)
    fitted_px = fit_to_box(np.array([[0.0, 0, 0], [100, 200, 0]]), np.array([0.0, 0, 60, 100]))
    np.testing.assert_allclose(fitted_px, [[30 - 26, 50 - 52], [30 + 26, 50 + 52]])


def test_a_point_has_no_size_to_fit():
    np.testing.assert_allclose(fit_to_box(np.zeros((3, 3)), np.array([0.0, 10, 20, 20])), np.full((3, 2), [10, 20]))


@given(
    st.floats(-800, 800), st.floats(-500, 500), st.floats(1500, 20000), st.floats(0.3, 1.5), st.floats(-np.pi, np.pi)
)
def test_a_root_is_found_by_the_box_of_the_projection(x, y, z, size, angle):
    turned_mm = (
        size * POSE_MM @ np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    )
    root_mm = np.array([x, y, z])
    image_px = CAMERA.camera_to_image_px(turned_mm + root_mm)
    found_mm = fit_root_to_box(turned_mm, box_of(image_px), CAMERA)
    np.testing.assert_allclose(found_mm, root_mm, rtol=1e-6, atol=1e-4)
    given_depth_mm = fit_root_to_box(turned_mm, box_of(image_px), CAMERA, z)
    np.testing.assert_allclose(given_depth_mm, root_mm, rtol=1e-6, atol=1e-4)


@given(st.floats(-800, 800), st.floats(-500, 500), st.floats(1000, 30000))
def test_a_depth_is_found_by_the_bones(x, y, z):
    joints_mm = POSE_MM + np.array([x, y, z])
    image_px = CAMERA.camera_to_image_px(joints_mm)
    found_mm = root_depth_by_bones(image_px, POSE_MM[:, 2], BONES, total_length(POSE_MM), CAMERA)
    assert found_mm == pytest.approx(z, rel=1e-6)


def test_a_scale_by_hand():
    # One bone of 3 px across and 400 mm deep is 500 mm long at 100 mm a px.
    variable, fixed = np.array([[0.0, 0, 0], [3, 0, 0]]), np.array([[0.0, 0, 0], [0, 0, 400]])
    assert scale_by_bones(variable, fixed, ((1, 0),), 500.0) == pytest.approx(100)
    assert scale_by_bones(variable, np.zeros((2, 3)), ((1, 0),), 500.0) == pytest.approx(500 / 3)
    assert scale_by_bones(variable, fixed, ((1, 0),), 300.0) == pytest.approx(0, abs=1e-9)  # deeper than it is long


def test_of_two_answers_the_farther_is_taken():
    # |s - 5| = 3 has the answers 2 and 8.
    variable, fixed = np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([[0.0, 0, 0], [-5, 0, 0]])
    assert scale_by_bones(variable, fixed, ((1, 0),), 3.0) == pytest.approx(8)


def test_joints_at_one_point_tell_no_length():
    with pytest.raises(DataError, match="all joints of a person were found at one point"):
        scale_by_bones(np.ones((4, 3)), POSE_MM, BONES, 1000.0)
