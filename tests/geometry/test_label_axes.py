"""Poses in other axes than their pictures' are refused, by what they hold; right ones are not."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.label_axes import axis_evidence, require_camera_axes
from integral_pose.synthetic.scene import draw_scene
from integral_pose.synthetic.shots import list_shots
from tests.conftest import STANDING_MM

Array = NDArray[np.float64]


class Labels:
    """A hundred rendered people, a third of them lying, bent or with raised feet, seen by four cameras."""

    def __init__(self) -> None:
        shots = list_shots("train", 100)
        scenes = [
            draw_scene(shot.subject, shot.action, shot.camera_id, np.random.default_rng(row), 1.8, 0.35)
            for row, shot in enumerate(shots)
        ]
        self.cameras = [shot.camera_id for shot in shots]
        self.px = np.array([scene.joints_image_px for scene in scenes])
        self.mm = np.array([scene.body.joints_mm for scene in scenes])
        self.world_mm = np.array([scene.camera.camera_to_world(scene.body.joints_mm) for scene in scenes])


@pytest.fixture(scope="module")
def labels() -> Labels:
    return Labels()


def test_right_poses_pass_all_together_and_one_by_one(labels: Labels) -> None:
    require_camera_axes(labels.px, labels.mm, "set")
    for row in range(len(labels.px)):
        require_camera_axes(labels.px[[row]], labels.mm[[row]], f"row {row}")


def test_a_person_seen_from_the_ceiling_passes() -> None:
    pose_mm = np.array([[[0, 0, 3000], [150, 40, 2700], [-150, 40, 2700], [0, -60, 2500], [0, 20, 4200]]], float)
    camera = Camera(np.eye(3), np.zeros(3), np.full(2, 1000), np.full(2, 500), np.zeros(3), np.zeros(2), 1000, 1000)
    places_mm = np.array([[x, y, 0] for x in (-600, 0, 600) for y in (-600, 0, 600)])
    poses_mm = pose_mm + places_mm[:, None]
    require_camera_axes(camera.camera_to_image_px(poses_mm), poses_mm, "ceiling")


def along_the_axis(toward: float = 1) -> tuple[Array, Array]:
    """Twenty people who lie 1 m below a camera that looks level, feet or heads away: px and mm."""
    lying_mm = STANDING_MM[:, [0, 2, 1]] * [-toward, 0.5, toward]
    camera = Camera(np.eye(3), np.zeros(3), np.full(2, 1100), np.full(2, 500), np.zeros(3), np.zeros(2), 1000, 1000)
    rng = np.random.default_rng(0)
    mm = lying_mm + rng.normal(0, 10, (20, 17, 3)) + [100, 1000, 2500]
    return camera.camera_to_image_px(mm) + rng.normal(0, 3, (20, 17, 2)), mm


def test_people_who_lie_along_the_axis_of_the_camera_pass() -> None:
    px, mm = along_the_axis()
    assert axis_evidence(px, mm).in_perspective.all()
    assert require_camera_axes(px, mm, "lying") is None
    assert require_camera_axes(px[:1], mm[:1], "lying") is None


@pytest.mark.parametrize("signs", [[1, -1, 1], [1, -1, -1], [-1, 1, 1], [-1, -1, 1], [1, 1, -1]])
def test_people_who_lie_along_it_in_other_axes_do_not(signs: list[int]) -> None:
    px, mm = along_the_axis()
    with pytest.raises(DataError, match="not the same axes"):
        require_camera_axes(px, mm * signs, "lying")


def test_among_them_those_in_other_axes_are_found(labels: Labels) -> None:
    px, mm = along_the_axis()
    px, mm = np.concatenate([px, labels.px]), np.concatenate([mm, labels.mm * [1, -1, -1]])
    with pytest.raises(DataError, match=r"y with y by -0\.9.*y up"):
        require_camera_axes(px, mm, "train.h5")
    assert np.flatnonzero(axis_evidence(px, mm).is_opposed).tolist() == list(range(20, 120))


def test_few_poses_are_refused_where_their_axes_are_clear_alone(labels: Labels) -> None:
    noise_mm = np.random.default_rng(0).normal(0, 300, (9, 17, 3))
    told = require_camera_axes(labels.px[:9], noise_mm, "train.h5")
    assert told is not None
    assert told.startswith("train.h5: the joints in px and in mm have not the same axes: x in px correlates")
    assert told.endswith("Used as they are, since so few poses do not tell")
    with pytest.raises(DataError, match="If the poses are right, set data.label_axes to camera"):
        require_camera_axes(labels.px[:1], labels.mm[:1] * [1, -1, -1], "train.h5")
    mixed = np.concatenate([labels.mm[:18], labels.mm[18:20] * [1, -1, -1]])
    told = require_camera_axes(labels.px[:20], mixed, "train.h5")
    assert told is not None
    assert "in 2 of 20 poses an axis runs the other way" in told


def test_the_setting_overrules_all(labels: Labels) -> None:
    told = require_camera_axes(labels.px, labels.mm * [1, -1, -1], "train.h5", "camera")
    assert told is not None
    assert told.endswith("Used as they are, since data.label_axes is camera")


def test_known_answer() -> None:
    px = np.array([[[1, 1], [3, 1], [1, 3.0]], [[5, 5], [7, 5], [5, 7]]])
    mm = np.concatenate([px * 10, np.zeros((2, 3, 1))], -1) * [1, -1, 1]
    evidence = axis_evidence(px, mm)
    np.testing.assert_allclose(evidence.correlation[:, :2], [[1, 0.5], [-0.5, -1]])
    assert evidence.is_opposed.tolist() == [True, True]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda mm, world_mm: mm * [1, -1, -1], r"y with y by -0\.9.*y of the poses in mm points the other way.*y up"),
        (
            lambda mm, world_mm: mm * [-1, 1, 1],
            r"with x in mm by -0\.9.*: x of the poses in mm points the other",
        ),
        (lambda mm, world_mm: mm * [-1, -1, 1], "x and y of the poses in mm point the other way"),
        (lambda mm, world_mm: mm[..., [1, 0, 2]], "x follows y and y follows x: two columns are exchanged"),
        (lambda mm, world_mm: world_mm, "z is upright.*world axes.*R .joint - camera centre."),
        (lambda mm, world_mm: world_mm[..., [0, 2, 1]], "y is upright.*world axes"),
        (lambda mm, world_mm: np.roll(mm, 1, 0), "of other pictures"),
        (
            lambda mm, world_mm: np.concatenate([mm[:80], mm[80:] * [1, -1, -1]]),
            "20 of 100 poses.*mixed; check-data lists the rows",
        ),
    ],
)
def test_poses_in_other_axes_are_refused_with_what_they_are(
    labels: Labels, wrong: Callable[[Array, Array], Array], words: str
) -> None:
    with pytest.raises(DataError, match=rf"^train\.h5: .*not the same axes: .*{words}"):
        require_camera_axes(labels.px, wrong(labels.mm, labels.world_mm), "train.h5")


def test_world_axes_are_refused_where_there_is_one_camera_too(labels: Labels) -> None:
    for camera in set(labels.cameras):
        rows = [row for row, each in enumerate(labels.cameras) if each == camera]
        with pytest.raises(DataError, match="world axes"):
            require_camera_axes(labels.px[rows], labels.world_mm[rows], "train.h5")


def test_a_few_odd_rows_are_left_to_check_data_and_joints_in_px_may_be_missing(labels: Labels) -> None:
    mixed = labels.mm.copy()
    mixed[[3, 4]] *= [1, -1, -1]
    require_camera_axes(labels.px, mixed, "train.h5")
    assert np.flatnonzero(axis_evidence(labels.px, mixed).is_opposed).tolist() == [3, 4]
    require_camera_axes(labels.px * 0, labels.mm, "train.h5")
    partly = labels.px.copy()
    partly[:, [6, 10, 16]] = 0
    require_camera_axes(partly, labels.mm, "train.h5")
