"""People without marks: a mirrored person gives the mirrored picture; poses of every kind, facing every way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from integral_pose.cli.main import main
from integral_pose.geometry.camera import CAMERA_IDS, Camera
from integral_pose.geometry.crop import Crop
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.actions import ACTIONS, draw_pose
from integral_pose.synthetic.body_model import BODIES, Pose, PosedBody, pose_body, rotation_matrix
from integral_pose.synthetic.body_surface import body_solids, draw_clothes
from integral_pose.synthetic.dataset import render_dataset
from integral_pose.synthetic.pose_parts import on_elbow
from integral_pose.synthetic.presets import EASY_MARKED, HARD, PRESETS
from integral_pose.synthetic.ray_casting import cast, shade
from integral_pose.synthetic.render import crop_rays
from integral_pose.synthetic.scene import FLOOR_GAP_MM, draw_scene

Array = NDArray[np.float64]

BODY_TO_CAMERA = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])  # forward, left, up -> right, down, away
# Without lens distortion and with the crop in the middle: pixel i and pixel 255 - i see mirrored rays.
CAMERA = Camera(np.eye(3), np.zeros(3), np.full(2, 1100.0), np.full(2, 500.0), np.zeros(3), np.zeros(2), 1000, 1000)
CROP = Crop(500 - 128 * 2.2, 500 - 128 * 2.2, 2.2, 256)
MIRRORED_X = np.diag([-1.0, 1, 1])


def poses(count: int) -> list[Pose]:
    """Of all actions and wide ones."""
    rng = np.random.default_rng(4)
    return [draw_pose(list(ACTIONS)[i % 15], rng, wide_share=0.5) for i in range(count)]


def seen(pose: Pose, turn: float) -> PosedBody:
    """A body of S7 in front of the camera."""
    body_to_camera = BODY_TO_CAMERA @ rotation_matrix(turn, 0, 0)
    return pose_body(BODIES["S7"], pose).moved(body_to_camera, np.array([0.0, 800, 5200]))


def paint(posed: PosedBody, light: Array, has_marks: bool) -> NDArray[np.float32]:
    """(3, 256, 256) RGB, black where nobody is."""
    solids = body_solids(posed, BODIES["S7"], draw_clothes(np.random.default_rng(1), has_marks))
    rays = crop_rays(CAMERA, CROP)
    picture = np.zeros((3, 256 * 256), np.float32)
    pixels, colours = shade(solids, cast(solids, rays, CAMERA, CROP), rays, light, 0.5)
    picture[:, pixels] = colours
    return picture.reshape(3, 256, 256)


def test_a_mirrored_pose_is_the_mirrored_body() -> None:
    for pose in poses(30):
        posed, mirrored = (pose_body(BODIES["S7"], each).joints_mm for each in (pose, pose.mirrored()))
        np.testing.assert_allclose(mirrored, posed[list(HUMAN36M.flip_order)] * [1, -1, 1], atol=1e-6)
        np.testing.assert_array_equal(pose.mirrored().mirrored().wrists, pose.wrists)


@pytest.mark.parametrize("has_marks", [False, True])
def test_a_mirrored_person_gives_the_mirrored_picture(has_marks: bool) -> None:
    rng, differing, covered = np.random.default_rng(3), 0, 0
    for pose in poses(30):
        turn, light = rng.uniform(0, 2 * np.pi), rng.normal(size=3)
        light /= np.linalg.norm(light)
        picture = paint(seen(pose, turn), light, has_marks)
        mirrored = paint(seen(pose.mirrored(), -turn), MIRRORED_X @ light, has_marks)
        differing += int((np.abs(mirrored[:, :, ::-1] - picture).max(axis=0) > 0.5).sum())
        covered += int((picture.max(axis=0) > 0).sum())
    assert covered > 30 * 2000
    if has_marks:  # so the comparison sees them
        assert differing > 0.2 * covered
    else:  # a few pixels on edges fall to the neighbouring solid
        assert differing < 2e-4 * covered


def test_people_face_every_way_and_lie_bend_and_stand() -> None:
    rng = np.random.default_rng(5)
    trunks, lefts, feet_up = [], [], []
    for i in range(600):
        scene = draw_scene("S1", list(ACTIONS)[i % 15], CAMERA_IDS[i % 4], rng, wide_share=HARD.wide_share)
        joints = dict(zip(HUMAN36M.names, scene.body.joints_mm @ scene.camera.rotation, strict=True))  # z up
        trunks.append((joints["Thorax"] - joints["Hip"]) / np.linalg.norm(joints["Thorax"] - joints["Hip"]))
        lefts.append(scene.camera.rotation @ (joints["LHip"] - joints["RHip"]))  # camera axes
        feet_up.append(min(joints["LFoot"][2], joints["RFoot"][2]) > joints["Hip"][2] + 200)
    is_upright = np.array(trunks)[:, 2] > 0.8
    assert 0.1 < (np.abs(np.array(trunks)[:, 2]) < 0.4).mean() < 0.35
    assert 0.02 < np.mean(feet_up) < 0.15
    facing = np.arctan2(np.array(lefts)[is_upright, 2], np.array(lefts)[is_upright, 0])
    eighths = np.histogram(facing, bins=8, range=(-np.pi, np.pi))[0] / is_upright.sum()
    assert eighths.min() > 0.07
    assert eighths.max() < 0.19


def test_who_reclines_is_between_sitting_and_lying() -> None:
    rng, at = np.random.default_rng(7), HUMAN36M.names.index
    bodies = [
        pose_body(BODIES["S7"], draw_pose("Walking", rng, wide_share=1.0, reclining_share=1.0)).joints_mm
        for _ in range(400)
    ]
    joints = np.array([body for body in bodies if body[:, 2].min() >= FLOOR_GAP_MM])  # as pictures have them
    assert len(joints) > 200
    trunk = joints[:, at("Thorax")] - joints[:, 0]
    rise = trunk[:, 2] / np.linalg.norm(trunk, axis=1)
    assert ((rise > 0.1) & (rise < 0.9)).mean() > 0.9
    assert joints[:, 0, 2].max() < 150
    raised = joints[:, [at("LFoot"), at("RFoot")], 2] > 300
    assert 0.3 < raised.mean() < 0.7
    assert (raised[:, 0] != raised[:, 1]).mean() > 0.4


@pytest.mark.parametrize(
    ("back", "elbow", "forearm"),  # of a trunk that leans back by so much: where they point in its own axes
    [(0.0, (0.0, -1.0), (1.0, 0.0)), (np.pi / 2, (-1.0, 0.0), (0.0, -1.0)), (1.0, (-0.841, -0.540), (0.540, -0.841))],
)
def test_an_elbow_on_the_floor_is_below_its_shoulder_and_the_forearm_lies(back, elbow, forearm) -> None:
    rng = np.random.default_rng(9)
    wrists = np.array([on_elbow(back)(rng).wrist for _ in range(200)])[:, [0, 2]]  # forward, up
    np.testing.assert_allclose(wrists @ elbow, 0.5, atol=1e-3)  # half an arm
    along = wrists @ forearm
    assert along.min() > 0.46 * np.cos(0.8) - 0.081
    assert along.max() < 0.46 + 0.081
    assert np.ptp(along) > 0.1
    assert on_elbow(back)(rng).pole[::2] == pytest.approx(elbow, abs=1e-3)


def test_the_reclining_are_a_share_of_the_wide() -> None:
    def num_lying(share: float) -> int:
        draws = (draw_pose("Walking", np.random.default_rng(seed), 1.0, 1.0, share).lying for seed in range(100))
        return sum(lying is not None for lying in draws)

    assert [num_lying(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([50, 25, 0], abs=15)
    assert num_lying(1.0) == 0


def test_no_side_is_busier() -> None:
    rng = np.random.default_rng(6)
    wrists = np.array([draw_pose("Phoning", rng, wide_share=0.01).wrists[:, 2] for _ in range(800)])
    assert 0.45 < (wrists[:, 0] > wrists[:, 1]).mean() < 0.55


def test_marks_give_the_old_pictures_and_are_off_by_default(tmp_path: Path) -> None:
    pictures = {}
    for name, options in (("old", ["--marks"]), ("new", [])):
        command = ["prepare", "synthetic", "--out", str(tmp_path / name), "--train", "2", "--valid", "1", *options]
        assert main([*command, "--workers", "1"]) == 0
        pictures[name] = [path.read_bytes() for path in sorted((tmp_path / name / "images").iterdir())]
    render_dataset(tmp_path / "direct", num_train=2, num_valid=1, seed=1, workers=1, difficulty=EASY_MARKED,
                   show_progress=False)  # fmt: skip
    assert [path.read_bytes() for path in sorted((tmp_path / "direct/images").iterdir())] == pictures["old"]
    assert not set(pictures["old"]) & set(pictures["new"])


def test_only_synthetic_1_has_marks() -> None:
    assert {name for name, preset in PRESETS.items() if preset.difficulty.has_marks} == {
        "synthetic-1", "synthetic-1-small",
    }  # fmt: skip
