"""The embedded data set: same seed, same bytes; labels that agree with each other and with the pictures."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from integral_pose.cli.main import main
from integral_pose.errors import ConfigError, DataError
from integral_pose.geometry.camera import CAMERA_IDS, human36m_camera
from integral_pose.geometry.crop import Crop
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.actions import ACTIONS, draw_pose
from integral_pose.synthetic.body_model import BODIES, bend_limb, pose_body, rotation_matrix
from integral_pose.synthetic.body_surface import body_solids, draw_clothes
from integral_pose.synthetic.dataset import pictures_sha256, render_dataset, render_preset
from integral_pose.synthetic.presets import HARD, PRESETS
from integral_pose.synthetic.ray_casting import ball, cast, plain
from integral_pose.synthetic.render import crop_rays, render
from integral_pose.synthetic.scene import Scene, draw_scene
from integral_pose.synthetic.shots import SUBJECTS, list_shots

Array = NDArray[np.float64]
NUM_TRAIN, NUM_VALID = 75, 30


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "set"
    render_dataset(out, num_train=NUM_TRAIN, num_valid=NUM_VALID, seed=3, workers=1, show_progress=False)
    return out


@pytest.fixture(scope="module")
def labels(dataset: Path) -> dict[str, NDArray[np.generic]]:
    with h5py.File(dataset / "annot/train.h5") as file:
        return {name: column[:] for name, column in file.items()}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """One scene of each action, all people and cameras in turn."""
    people = list(BODIES)
    return [
        draw_scene(people[i % 7], action, CAMERA_IDS[i % 4], np.random.default_rng([9, i]))
        for i, action in enumerate(ACTIONS)
    ]


def read_tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_same_seed_same_bytes_whatever_the_workers(dataset: Path, tmp_path: Path) -> None:
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    render_dataset(tmp_path / "b", num_train=NUM_TRAIN, num_valid=NUM_VALID, seed=3, workers=2, show_progress=False)
    assert read_tree(tmp_path / "b") == read_tree(dataset)


def test_other_seed_other_pictures(dataset: Path, tmp_path: Path) -> None:
    render_dataset(tmp_path / "b", num_train=2, num_valid=0, seed=4, workers=1, show_progress=False)
    first = (tmp_path / "b/annot/train_images.txt").read_text().split()[0]
    assert (tmp_path / "b/images" / first).read_bytes() != (dataset / "images" / first).read_bytes()


def test_layout(dataset: Path, labels: dict[str, NDArray[np.generic]]) -> None:
    assert {path.name for path in (dataset / "annot").iterdir()} == {
        "train.h5", "valid.h5", "train_images.txt", "valid_images.txt", "mean.txt", "std.txt", "prepared.json",
    }  # fmt: skip
    shapes = {name: (column.dtype.str, column.shape[1:]) for name, column in labels.items()}
    assert shapes == {
        "pose2d": ("<f4", (17, 2)),
        "pose3d": ("<f4", (17, 3)),
        "camera": ("<f8", (9,)),
        "crop_to_image": ("<f8", (3,)),
        "root_camera_mm": ("<f8", (3,)),
        "subject": ("|S16", ()),
        "action": ("|S16", ()),
    }
    names = (dataset / "annot/train_images.txt").read_text().splitlines()
    assert len(names) == len(set(names)) == len(labels["pose2d"]) == NUM_TRAIN
    assert names[0] == "S1_Directions_1.54138969_000001.jpg"
    subjects, actions = labels["subject"].astype(str), labels["action"].astype(str)
    for name, subject, action in zip(names, subjects, actions, strict=True):
        assert name.startswith(f"{subject}_{action}_")
        assert simplejpeg.decode_jpeg((dataset / "images" / name).read_bytes()).shape == (256, 256, 3)
    assert len(list((dataset / "images").iterdir())) == NUM_TRAIN + NUM_VALID


def test_statistics(dataset: Path, labels: dict[str, NDArray[np.generic]]) -> None:
    rows = labels["pose3d"].reshape(NUM_TRAIN, 51).astype(np.float64)
    np.testing.assert_allclose(np.loadtxt(dataset / "annot/mean.txt"), rows.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(np.loadtxt(dataset / "annot/std.txt"), rows.std(axis=0), atol=1e-3)


def test_poses_project_onto_their_pixels(dataset: Path, labels: dict[str, NDArray[np.generic]]) -> None:
    names = (dataset / "annot/train_images.txt").read_text().splitlines()
    for row, name in enumerate(names):
        camera = human36m_camera(name.split("_")[0], name.split(".")[1].split("_")[0])
        stored = np.concatenate([camera.focal_px, camera.principal_px, camera.radial, camera.tangential])
        np.testing.assert_array_equal(labels["camera"][row], stored)
        crop = Crop(*(float(v) for v in labels["crop_to_image"][row]), size_px=256)
        joints_camera_mm = labels["pose3d"][row].astype(np.float64) + labels["root_camera_mm"][row]
        joints_crop_px = crop.image_px_to_crop_px(camera.camera_to_image_px(joints_camera_mm))
        np.testing.assert_allclose(labels["pose2d"][row], joints_crop_px, atol=1e-2)


def test_joints_lie_inside_the_crop_and_reach_its_margin(labels: dict[str, NDArray[np.generic]]) -> None:
    margin_px = 20 / labels["crop_to_image"][:, 2]
    np.testing.assert_allclose(labels["pose2d"].min(axis=1).min(axis=1), margin_px, atol=1e-3)
    np.testing.assert_allclose(labels["pose2d"].max(axis=1).max(axis=1), 256 - margin_px, atol=1e-3)


def test_bones_keep_their_length(labels: dict[str, NDArray[np.generic]]) -> None:
    child, parent = np.array(HUMAN36M.bones).T
    lengths_mm = np.linalg.norm(labels["pose3d"][:, child] - labels["pose3d"][:, parent], axis=-1)
    for subject in SUBJECTS["train"]:
        of_subject = lengths_mm[labels["subject"] == subject.encode()]
        assert np.ptp(of_subject, axis=0).max() < 0.1
        names = [HUMAN36M.names[i] for i in child]
        assert of_subject[0, names.index("LKnee")] == pytest.approx(BODIES[subject].thigh_mm, abs=0.1)
        assert of_subject[0, names.index("RWrist")] == pytest.approx(BODIES[subject].forearm_mm, abs=0.1)


def test_left_is_left(labels: dict[str, NDArray[np.generic]]) -> None:
    at = dict(zip(HUMAN36M.names, np.moveaxis(labels["pose3d"], 1, 0), strict=True))
    up = at["Thorax"] - at["Hip"]
    forward = at["Neck/Nose"] - (at["Thorax"] + at["Head"]) / 2
    left = np.cross(up, forward)
    assert (((at["LHip"] - at["RHip"]) * left).sum(axis=-1) > 0).mean() > 0.95
    assert (((at["LShoulder"] - at["RShoulder"]) * left).sum(axis=-1) > 0).mean() > 0.95


@pytest.mark.parametrize(("split", "count"), [("train", 75), ("train", 600), ("valid", 30), ("train", 1)])
def test_pictures_are_dealt_evenly(split: str, count: int) -> None:
    shots = list_shots(split, count)
    assert len(shots) == count
    for part in ("subject", "action", "camera_id"):
        counts = Counter(getattr(shot, part) for shot in shots).values()
        assert max(counts) - min(counts) <= 1
    assert shots == sorted(
        shots,
        key=lambda s: (SUBJECTS[split].index(s.subject), list(ACTIONS).index(s.action), *s[2:]),
    )


def test_every_combination_comes_up_once_before_one_is_repeated() -> None:
    assert {shot.frame for shot in list_shots("train", 600)} == {1}
    assert {shot.frame for shot in list_shots("valid", 240)} == {1}


def test_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(DataError, match="not an empty folder; name another --out, or remove it"):
        render_dataset(tmp_path, num_train=1, num_valid=0, seed=0, workers=1, show_progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_refuses_a_number_that_makes_no_sense(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--workers is 0; it has to be 1 or more"):
        render_dataset(tmp_path / "set", num_train=1, num_valid=0, seed=0, workers=0, show_progress=False)
    with pytest.raises(DataError, match=r"--valid is 10,000,000,000; it has to be 2,000,000 or less"):
        render_dataset(tmp_path / "set", num_train=1, num_valid=10**10, seed=0, workers=1, show_progress=False)


def test_rays_meet_the_labels(scenes: list[Scene]) -> None:
    """The rays of the pixels round a joint, interpolated, enclose it to well below a tenth of a pixel."""
    for scene in scenes:
        rays = crop_rays(scene.camera, scene.crop).astype(np.float64)
        points_camera_mm = np.stack([*rays, np.ones_like(rays[0])], axis=-1)
        seen_px = scene.crop.image_px_to_crop_px(scene.camera.camera_to_image_px(points_camera_mm))
        centers_px = np.stack(np.meshgrid(np.arange(256) + 0.5, np.arange(256) + 0.5), axis=-1)
        assert np.abs(seen_px - centers_px).max() < 0.05


def test_person_covers_the_joints(scenes: list[Scene]) -> None:
    """Every joint lies behind the surface of its own body, a limb's thickness deep or behind other limbs."""
    for scene in scenes:
        solids = body_solids(scene.body, BODIES["S1"], draw_clothes(np.random.default_rng(0)))
        hits = cast(solids, crop_rays(scene.camera, scene.crop), scene.camera, scene.crop)
        column, row = scene.crop.image_px_to_crop_px(scene.joints_image_px).astype(int).T
        gap_mm = scene.body.joints_mm[:, 2] - hits.depth_mm[row, column]
        assert gap_mm.min() > 0
        assert np.median(gap_mm) < 150


def test_person_stands_out_from_the_background(scenes: list[Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [[], []]
    for drawn in pictures:
        for i, scene in enumerate(scenes):
            clothes = draw_clothes(np.random.default_rng(i))
            drawn.append(render(scene, BODIES["S9"], clothes, np.random.default_rng(i)).astype(int))
        monkeypatch.setattr("integral_pose.synthetic.render.shade", lambda *_: (np.arange(0), np.zeros((3, 0))))
    changed = []
    for scene, picture, empty in zip(scenes, *pictures, strict=True):
        assert picture.shape == (256, 256, 3)
        column, row = scene.crop.image_px_to_crop_px(scene.joints_image_px).astype(int).T
        changed.append(np.abs(picture - empty).max(axis=-1)[row, column] > 25)
    assert np.mean(changed) > 0.9


def test_nearer_ball_hides_the_farther_one(scenes: list[Scene]) -> None:
    camera, crop = scenes[0].camera, scenes[0].crop
    rays = crop_rays(camera, crop)
    axis = np.array([*rays[:, 128, 128].astype(np.float64), 1.0])
    far, near = ball(axis * 5000, 100, plain((0, 0, 0))), ball(axis * 4000, 50, plain((0, 0, 0)))
    hits = cast([near, far], rays, camera, crop)
    # The surface is one radius nearer than the centre, along the ray.
    assert hits.depth_mm[128, 128] == pytest.approx(4000 - 50 / np.linalg.norm(axis), abs=0.05)
    assert {-1, 0, 1} == set(np.unique(hits.solid).tolist())
    assert (cast([far, near], rays, camera, crop).depth_mm == hits.depth_mm).all()


def test_bent_limb_known_answer() -> None:
    # Two bones of 5 over a gap of 8: the middle joint is 3 off the line.
    middle, end = bend_limb(np.zeros(3), np.array([8.0, 0, 0]), np.array([1.0, 2.0, 0.0]), 5, 5)
    assert middle == pytest.approx([4, 3, 0])
    assert end == pytest.approx([8, 0, 0])
    _, out_of_reach = bend_limb(np.zeros(3), np.array([80.0, 0, 0]), np.array([0, 1.0, 0.0]), 5, 5)
    assert out_of_reach == pytest.approx([9.98, 0, 0])


def test_rotation_turns_left_then_leans_forward() -> None:
    assert rotation_matrix(np.pi / 2, 0, 0) @ (1, 0, 0) == pytest.approx([0, 1, 0])
    assert rotation_matrix(0, np.pi / 2, 0) @ (0, 0, 1) == pytest.approx([1, 0, 0])
    assert rotation_matrix(0, 0, np.pi / 2) @ (0, 1, 0) == pytest.approx([0, 0, 1])


def draw_joints_mm(action: str, count: int = 60) -> dict[str, Array]:
    """Joints by name, (count, 3) each, body axes."""
    rng = np.random.default_rng(2)
    drawn = np.array([pose_body(BODIES["S11"], draw_pose(action, rng)).joints_mm for _ in range(count)])
    return dict(zip(HUMAN36M.names, np.moveaxis(drawn, 1, 0), strict=True))


def test_actions_look_like_their_names() -> None:
    assert draw_joints_mm("Sitting")["Hip"][:, 2].max() < 650
    assert draw_joints_mm("SittingDown")["Hip"][:, 2].max() < 600
    assert draw_joints_mm("Directions")["Hip"][:, 2].min() > 750

    phoning = draw_joints_mm("Phoning")
    hands_mm = [np.linalg.norm(phoning[hand] - phoning["Neck/Nose"], axis=-1) for hand in ("LWrist", "RWrist")]
    assert np.minimum(*hands_mm).max() < 350

    walking = draw_joints_mm("Walking")
    leading_foot = walking["LFoot"][:, 0] > walking["RFoot"][:, 0]
    leading_hand = walking["LWrist"][:, 0] > walking["RWrist"][:, 0]
    assert 0.3 < leading_foot.mean() < 0.7
    assert (leading_foot != leading_hand).mean() > 0.8


@pytest.mark.parametrize("action", ACTIONS)
def test_bodies_have_the_size_of_people(action: str) -> None:
    joints_mm = draw_joints_mm(action)
    heights_mm = np.stack([point[:, 2] for point in joints_mm.values()])
    assert heights_mm.max() < 2250
    assert (heights_mm.min(axis=0) > 0).mean() > 0.5  # the others are drawn again
    feet_mm = np.minimum(joints_mm["LFoot"][:, 2], joints_mm["RFoot"][:, 2])
    assert feet_mm.max() < 200


HARD_SET = {"seed": 5, "workers": 1, "difficulty": HARD, "show_progress": False}


def test_the_first_of_a_larger_set_are_the_same_pictures(tmp_path: Path) -> None:
    for name, train in (("whole", 30), ("first", 12)):
        render_dataset(tmp_path / name, num_train=train, num_valid=3, first_of=(30, 3), **HARD_SET)
    digests = [pictures_sha256(tmp_path / name) for name in ("whole", "first")]
    whole, first = read_tree(tmp_path / "whole/images"), read_tree(tmp_path / "first/images")
    assert len(first) == 15
    assert first.items() <= whole.items()
    names = [(tmp_path / "first/annot" / f"{split}_images.txt").read_text().split() for split in ("train", "valid")]
    assert (
        hashlib.sha256(b"".join(first[name] for name in [*names[0], *names[1]])).hexdigest() == digests[1] != digests[0]
    )


def test_hard_pictures_hide_joints_but_leave_labels_true(tmp_path: Path) -> None:
    for name, difficulty in (("open", HARD._replace(max_occluders=0)), ("hidden", HARD)):
        render_dataset(tmp_path / name, num_train=20, num_valid=0, **HARD_SET | {"difficulty": difficulty})
    columns = []
    for name in ("open", "hidden"):
        with h5py.File(tmp_path / name / "annot/train.h5") as file:
            columns.append(file["pose3d"][:])
    np.testing.assert_array_equal(*columns)
    one, other = read_tree(tmp_path / "open/images"), read_tree(tmp_path / "hidden/images")
    assert 8 <= sum(one[name] != other[name] for name in one) <= 20


def test_presets_are_known_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'x'\. Known: synthetic-1, synthetic-1-small"):
        render_preset(tmp_path / "out", "x", workers=1)
    for name in ("synthetic-1", "synthetic-2"):
        assert PRESETS[f"{name}-small"].first_of == PRESETS[name].first_of
    assert all(preset.sha256 is None or len(preset.sha256) == 64 for preset in PRESETS.values())


def test_a_preset_says_whether_its_pictures_are_those_of_the_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = PRESETS["synthetic-1"]._replace(num_train=2, num_valid=1, first_of=(2, 1))
    monkeypatch.setitem(PRESETS, "synthetic-1", tiny)
    assert not render_preset(tmp_path / "a", "synthetic-1", workers=1, show_progress=False)
    digest = hashlib.sha256(b"".join(
        (tmp_path / "a/images" / name).read_bytes()
        for split in ("train", "valid") for name in (tmp_path / f"a/annot/{split}_images.txt").read_text().split()
    )).hexdigest()  # fmt: skip
    monkeypatch.setitem(PRESETS, "synthetic-1", tiny._replace(sha256=digest))
    assert render_preset(tmp_path / "b", "synthetic-1", workers=1, show_progress=False)


@pytest.mark.parametrize("option", [["--train", "5"], ["--seed", "2"], ["--marks"], ["--people", "anny"]])
def test_a_preset_takes_nothing_that_it_says_itself(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare", "synthetic", "--preset", "synthetic-2-small", "--out", str(tmp_path / "x"), *option]
    assert main(command) == 2
    assert f"{option[0]} is a part of what --preset synthetic-2-small means" in capsys.readouterr().err
