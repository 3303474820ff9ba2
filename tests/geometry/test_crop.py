"""Square crops round the joints."""

from __future__ import annotations

import numpy as np
import pytest

from integral_pose.geometry.crop import Crop, Rectangle, crop_c2f, rectangle_round_box


def test_known_answer() -> None:
    # Box 100..300 x 50..130: side 200 + 40, centre (200, 90).
    crop = crop_c2f(np.array([[100.0, 50.0], [300.0, 130.0], [150.0, 60.0]]), size_px=256)
    assert crop == Crop(left_px=80.0, top_px=-30.0, scale=240 / 256, size_px=256)
    assert crop.side_px == 240
    middle_px = crop.image_px_to_crop_px(np.array([200.0, 90.0]))
    assert middle_px == pytest.approx([128, 128])


def test_corners_of_the_square_are_corners_of_the_crop() -> None:
    crop = Crop(left_px=10.0, top_px=20.0, scale=1.5, size_px=256)
    assert crop.image_px_to_crop_px(np.array([[10.0, 20.0], [394.0, 404.0]])).tolist() == [[0, 0], [256, 256]]


def test_joints_keep_their_distance_from_the_border() -> None:
    joints_px = np.random.default_rng(1).uniform(100, 900, (17, 2))
    crop = crop_c2f(joints_px, size_px=256)
    inside_px = crop.image_px_to_crop_px(joints_px)
    margin_px = 20 / crop.scale
    assert inside_px.min() == pytest.approx(margin_px)
    assert inside_px.max() == pytest.approx(256 - margin_px)


def test_a_rectangle_holds_the_box_and_has_the_aspect() -> None:
    # A box of 30 x 40 about (115, 220): at 3:4 it is the rectangle itself, at 1:1 the height rules, at 1:2 the width.
    box = (100.0, 200.0, 30.0, 40.0)
    assert rectangle_round_box(box, 1.0, 0.75) == Rectangle(100, 200, 30, 40)
    assert rectangle_round_box(box, 1.5, 1.0) == Rectangle(115 - 30, 220 - 30, 60, 60)
    assert rectangle_round_box(box, 1.0, 0.5) == Rectangle(100, 220 - 30, 30, 60)


def test_norm_and_pixels_of_a_rectangle_meet() -> None:
    rectangle = Rectangle(10.0, -20.0, 300.0, 100.0)
    points_norm = np.array([[-0.5, -0.5], [0.0, 0.25], [0.5, 0.5]])
    image_px = rectangle.norm_to_image_px(points_norm)
    np.testing.assert_allclose(image_px, [[10, -20], [160, 55], [310, 80]])
    crop_px = np.column_stack([(points_norm + 0.5) * [60, 50], np.ones(3)])  # a crop of 60 x 50 px
    np.testing.assert_allclose(crop_px @ rectangle.crop_to_image(50, 60).T, image_px)
