"""Square crops round the joints."""

from __future__ import annotations

import numpy as np
import pytest

from integral_pose.geometry.crop import Crop, crop_c2f


def test_known_answer() -> None:
    # Box 100..300 x 50..130: side 200 + 40, centre (200, 90).
    crop = crop_c2f(np.array([[100.0, 50.0], [300.0, 130.0], [150.0, 60.0]]), size_px=256)
    assert crop == Crop(left_px=80.0, top_px=-30.0, scale=240 / 256, size_px=256)
    assert crop.side_px == 240
    middle_px = crop.image_px_to_crop_px(np.array([200.0, 90.0]))
    assert middle_px == pytest.approx([128, 128])


def test_corners_of_the_crop_are_corners_of_the_square() -> None:
    crop = Crop(left_px=10.0, top_px=20.0, scale=1.5, size_px=256)
    assert crop.crop_px_to_image_px(np.array([[0.0, 0.0], [256.0, 256.0]])).tolist() == [[10, 20], [394, 404]]


def test_round_trip() -> None:
    points_px = np.random.default_rng(0).uniform(-50, 1050, (5, 17, 2))
    crop = crop_c2f(points_px[0], size_px=256)
    np.testing.assert_allclose(crop.crop_px_to_image_px(crop.image_px_to_crop_px(points_px)), points_px, atol=1e-9)


def test_joints_keep_their_distance_from_the_border() -> None:
    joints_px = np.random.default_rng(1).uniform(100, 900, (17, 2))
    crop = crop_c2f(joints_px, size_px=256)
    inside_px = crop.image_px_to_crop_px(joints_px)
    margin_px = 20 / crop.scale
    assert inside_px.min() == pytest.approx(margin_px)
    assert inside_px.max() == pytest.approx(256 - margin_px)
