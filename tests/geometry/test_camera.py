"""Rigid motion and lens of the Human3.6M cameras."""

from __future__ import annotations

import numpy as np
import pytest

from integral_pose.geometry.camera import CAMERA_IDS, Camera, human36m_camera

TOY = Camera(
    rotation=np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]),  # looks along the world's x axis
    center_world_mm=np.array([-1000.0, 0.0, 500.0]),
    focal_px=np.array([1000.0, 2000.0]),
    principal_px=np.array([500.0, 400.0]),
    radial=np.array([0.1, 0.0, 0.0]),
    tangential=np.array([0.0, 0.01]),
    width_px=1000,
    height_px=800,
)


def test_known_answer() -> None:
    # 1 m to the right of the axis and 1 m below it, 2 m in front of the camera.
    point_camera_mm = TOY.world_to_camera(np.array([1000.0, -1000.0, -500.0]))
    assert point_camera_mm.tolist() == [1000, 1000, 2000]
    # On the plane x = y = 0.5, r2 = 0.5: factor = 1 + 0.1 * 0.5 + 0.01 * 0.5 = 1.055, x gains p2 r2 = 0.005.
    assert TOY.camera_to_image_px(point_camera_mm) == pytest.approx([500 + 1000 * 0.5325, 400 + 2000 * 0.5275])


@pytest.mark.parametrize("camera_id", CAMERA_IDS)
def test_round_trips(camera_id: str) -> None:
    camera = human36m_camera("S9", camera_id)
    points_world_mm = np.random.default_rng(0).uniform((-1500, -1500, 0), (1500, 1500, 1800), (50, 3))
    points_camera_mm = camera.world_to_camera(points_world_mm)
    np.testing.assert_allclose(camera.camera_to_world(points_camera_mm), points_world_mm, atol=1e-6)
    points_px = camera.camera_to_image_px(points_camera_mm)
    back_mm = camera.image_px_to_camera(points_px, points_camera_mm[:, 2])
    np.testing.assert_allclose(back_mm, points_camera_mm, atol=1e-6)


@pytest.mark.parametrize("subject", ["S1", "S5", "S6", "S7", "S8", "S9", "S11"])
def test_cameras_stand_round_the_room_and_look_into_it(subject: str) -> None:
    for camera_id in CAMERA_IDS:
        camera = human36m_camera(subject, camera_id)
        np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-6)
        x, y = camera.camera_to_image_px(camera.world_to_camera(np.array([0.0, 300.0, 900.0])))
        assert 200 < x < 800
        assert 200 < y < 800
