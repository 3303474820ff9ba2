"""Rendered people: same seed, same bytes; labels on their bodies; no sign of the side; what cannot be used is said."""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from integral_pose.cli.main import main
from integral_pose.errors import ConfigError, DataError
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.crop import Crop
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.actions import ACTIONS, draw_pose
from integral_pose.synthetic.body_model import BODIES, Pose, pose_body, rotation_matrix
from integral_pose.synthetic.dataset import render_dataset
from integral_pose.synthetic.presets import PEOPLE
from integral_pose.synthetic.render import crop_rays

MISSING = [name for name in ("anny", "embreex") if importlib.util.find_spec(name) is None]
if MISSING:
    pytest.skip(f"the extra 'people' is not installed ({', '.join(MISSING)})", allow_module_level=True)

from integral_pose.synthetic.people import backgrounds  # noqa: E402
from integral_pose.synthetic.people.body_data import BodyData, load_body_data  # noqa: E402
from integral_pose.synthetic.people.garments import SHIRT, SKIN, Mesh, dress, head_place  # noqa: E402
from integral_pose.synthetic.people.joint_centres import rest_joints  # noqa: E402
from integral_pose.synthetic.people.materials import Look  # noqa: E402
from integral_pose.synthetic.people.outfits import draw_outfit, without_sleeves  # noqa: E402
from integral_pose.synthetic.people.people_painter import draw_person, set_up  # noqa: E402
from integral_pose.synthetic.people.rig import Hands, PosedRig, fit_error_mm, fit_rig, skin  # noqa: E402
from integral_pose.synthetic.people.room import RoomMesh  # noqa: E402
from integral_pose.synthetic.people.shapes import RestBody, draw_traits, rest_body  # noqa: E402
from integral_pose.synthetic.people.stage import Light, Lights, Stage, build_stage, meet, shade  # noqa: E402

Array = NDArray[np.float64]
UP = np.array([0.0, 0, 1])
BODY_TO_CAMERA = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
CAMERA = Camera(np.eye(3), np.zeros(3), np.full(2, 1100.0), np.full(2, 500.0), np.zeros(3), np.zeros(2), 1000, 1000)
CROP = Crop(500 - 128 * 2.2, 500 - 128 * 2.2, 2.2, 256)
EMPTY = RoomMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, np.int32), [])
# Mean share of each bone in the sum of all, per cent: Human3.6M's S1, S5, S7, S8, S9 (docs/data.md).
REAL_SHARES = {"LHip": 3.17, "LKnee": 10.80, "LFoot": 10.79, "Spine": 5.78, "Thorax": 6.11, "Neck/Nose": 2.82,
               "Head": 2.77, "LShoulder": 3.78, "LElbow": 6.76, "LWrist": 5.97}  # fmt: skip


@pytest.fixture(scope="module")
def data() -> BodyData:
    return load_body_data()


@pytest.fixture(scope="module")
def bodies(data: BodyData) -> list[RestBody]:
    rng = np.random.default_rng(0)
    return [rest_body(data, draw_traits(rng)) for _ in range(40)]


def test_same_seed_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    trees = []
    for name, workers in (("a", 1), ("b", 2)):
        render_dataset(
            tmp_path / name, num_train=3, num_valid=1, seed=3, workers=workers, painter=set_up(3, PEOPLE, "wide"),
            show_progress=False,
        )  # fmt: skip
        trees.append({p.name: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()})
    assert trees[0] == trees[1]
    assert main(["check-data", str(tmp_path / "a"), "--out", str(tmp_path / "sheet.png"), "--workers", "1"]) == 0
    with h5py.File(tmp_path / "a/annot/train.h5") as file:
        assert file["camera"].shape == (3, 9)
        assert len(set(file["camera"][:, 0])) > 1  # not only Human3.6M's


def test_adults_of_every_height(data: BodyData, bodies: list[RestBody]) -> None:
    heights = np.array([np.ptp(body.vertices_mm[data.ends, 2]) for body in bodies])
    assert 1640 < heights.mean() < 1760
    assert 70 < heights.std() < 130
    assert heights.min() > 1440
    assert heights.max() < 2060


def test_mean_bones_are_those_of_real_people(data: BodyData, bodies: list[RestBody]) -> None:
    joints = np.array([rest_joints(data, body) for body in bodies])
    child, parent = np.array(HUMAN36M.bones).T
    lengths = np.linalg.norm(joints[:, child] - joints[:, parent], axis=2)
    mean = 100 * (lengths / lengths.sum(axis=1)[:, None]).mean(axis=0)
    shares = dict(zip([HUMAN36M.names[i] for i in child], mean, strict=True))
    for bone, real in REAL_SHARES.items():
        assert shares[bone] == pytest.approx(real, rel=0.04), bone


def test_the_pose_at_rest_is_given_back(data: BodyData, bodies: list[RestBody]) -> None:
    joints = rest_joints(data, bodies[0])
    posed = fit_rig(data, bodies[0], joints, Hands(curl=(0.0, 0.0)), UP)
    np.testing.assert_allclose(posed.joints_mm, joints, atol=1.5)


def test_the_rig_takes_the_poses_of_all_actions(data: BodyData, bodies: list[RestBody]) -> None:
    rng, errors = np.random.default_rng(1), []
    for action in ACTIONS:
        joints = pose_body(BODIES["S7"], draw_pose(action, rng)).joints_mm
        errors.append(fit_error_mm(data, bodies[1], fit_rig(data, bodies[1], joints, Hands(), UP), joints))
    assert np.mean(errors) < 30
    assert np.max(errors) < 150


def seen(data: BodyData, body: RestBody, pose: Pose, turn: float, hands: Hands) -> PosedRig:
    posed = fit_rig(data, body, pose_body(BODIES["S7"], pose).joints_mm, hands, UP)
    return posed.moved(BODY_TO_CAMERA @ rotation_matrix(turn, 0, 0), np.array([0.0, 800, 5200]))


def staged(data: BodyData, body: RestBody, mesh: Mesh, look: Look, posed: PosedRig) -> Stage:
    points = skin(mesh.rest_mm, mesh.weights, body, posed)
    return build_stage(mesh, points, EMPTY, np.eye(3), np.zeros(3), look)


def paint(stage: Stage, light: Array) -> NDArray[np.float32]:
    """(256, 256, 3), black where nobody is."""
    rays = np.concatenate([crop_rays(CAMERA, CROP).reshape(2, -1), np.ones((1, 65536), np.float32)]).T.copy()
    surface = meet(stage, rays)
    lights = Lights([Light(light, np.ones(3), 0.0)], np.full(3, 0.4), np.array([0.0, -1, 0]))
    picture = np.zeros((65536, 3), np.float32)
    ones = np.ones((1, len(surface.hit)), np.float32)
    picture[surface.hit] = shade(stage, surface, ones[0], ones, lights)
    return picture.reshape(256, 256, 3)


def test_a_mirrored_person_gives_the_mirrored_picture(data: BodyData, bodies: list[RestBody]) -> None:
    rng = np.random.default_rng(3)
    covered = differing = moved = 0
    for number in range(6):
        body = bodies[number]
        outfit = draw_outfit(np.random.default_rng(number), number % 2, 0.3)
        outfit = without_sleeves(outfit, rng) if number >= 4 else outfit
        cloth = outfit.shirt._replace(
            pattern="stripes along", size_mm=70.0, colour=(0.1, 0.1, 0.1), second=(0.9, 0.8, 0.7)
        )
        outfit = outfit._replace(shirt=cloth, trousers=cloth, jacket=cloth)
        mesh, look = dress(data, body, outfit), Look(outfit, head_place(data, body), 1200.0)
        pose = draw_pose(list(ACTIONS)[2 * number], rng, wide_share=0.3)
        hands = Hands((0.5, -0.2), (0.1, 0.3), (0.2, 0.7))
        turn, light = rng.uniform(0, 6), np.array([0.6, -0.64, -0.48])
        first = paint(staged(data, body, mesh, look, seen(data, body, pose, turn, hands)), light)
        other = seen(data, body, pose.mirrored(), -turn, hands.mirrored())
        mirrored = paint(staged(data, body, mesh, look, other), light * (-1, 1, 1))[:, ::-1]
        is_body = (first.max(axis=2) > 0) | (mirrored.max(axis=2) > 0)
        covered += is_body.sum()
        differing += (np.abs(first - mirrored).max(axis=2) > 0.08)[is_body].sum()
        moved += (np.abs(first - first[:, ::-1]).max(axis=2) > 0.08)[is_body].sum()
    assert covered > 6 * 2000
    assert moved > 0.3 * covered  # so the comparison sees a body on the other side
    assert differing < 0.02 * covered


def test_joints_lie_in_the_picture_of_the_body(data: BodyData, bodies: list[RestBody]) -> None:
    outfit = draw_outfit(np.random.default_rng(1), 0.0, 0.3)
    mesh, look = dress(data, bodies[2], outfit), Look(outfit, head_place(data, bodies[2]), 1200.0)
    posed = seen(data, bodies[2], draw_pose("Greeting", np.random.default_rng(2)), 0.4, Hands())
    picture = paint(staged(data, bodies[2], mesh, look, posed), np.array([0.0, -0.6, -0.8])).max(axis=2)
    column, row = CROP.image_px_to_crop_px(CAMERA.camera_to_image_px(posed.joints_mm)).astype(int).T
    assert (picture[row, column] > 0).all()


def test_without_sleeves_shoulders_and_arms_are_bare_and_the_chest_is_not(
    data: BodyData, bodies: list[RestBody]
) -> None:
    """Seen from the front, from behind and from the left, standing at rest."""
    rng = np.random.default_rng(5)
    for number in range(6):
        outfit = without_sleeves(draw_outfit(rng, number % 2, 0.3), rng)
        outfit = outfit._replace(strap_mm=90.0, neck=1.04, hair_length=0.0)
        mesh = dress(data, bodies[number], outfit)
        look = Look(outfit, head_place(data, bodies[number]), 1200.0)
        places = dict(zip(HUMAN36M.names, rest_joints(data, bodies[number]), strict=True))
        chest = places["Spine"] + 0.4 * (places["Thorax"] - places["Spine"])
        beside_the_strap = places["LShoulder"] * (1, 0, 1) + (0, 125.0, 0)
        for turn in (0.0, np.pi / 2, np.pi):
            to_camera = BODY_TO_CAMERA @ rotation_matrix(turn, 0, 0)
            away = np.array([0.0, 800, 5200])
            stage = build_stage(mesh, (mesh.rest_mm @ to_camera.T + away).astype(np.float32), EMPTY, np.eye(3),
                                np.zeros(3), look)  # fmt: skip
            points = np.array([places["LShoulder"], places["LElbow"], beside_the_strap, chest]) @ to_camera.T + away
            kinds = meet(stage, (points / points[:, 2:]).astype(np.float32)).kind.tolist()
            assert kinds[:3] == [SKIN, SKIN, SKIN], (number, turn)
            assert kinds[3] == SHIRT or turn == np.pi / 2  # where the arm may hang before it


def test_some_wear_no_sleeves_and_older_sets_stay_as_they_are(data: BodyData) -> None:
    def straps(share: float) -> list[bool]:
        return [draw_person(0, number, 7, share).look.outfit.strap_mm is not None for number in range(24)]

    assert not any(straps(0.0))
    assert all(straps(1.0))
    assert 4 <= sum(straps(0.5)) <= 20
    before, now = (draw_person(0, 3, 7, share).look.outfit for share in (0.0, 1.0))
    assert (
        now._replace(**{name: getattr(before, name) for name in ("sleeve", "jacket_sleeve", "strap_mm", "neck")})
        == before
    )


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def test_photographs_that_cannot_be_used_are_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.txt").write_text("no picture")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xffbroken")
    with pytest.raises(DataError, match="holds no readable picture among 2 files"):
        backgrounds.find_photographs(tmp_path)
    (tmp_path / "huge.png").write_bytes(png_header(20_000, 10_000))
    (found := tmp_path / "a/b").mkdir(parents=True)
    Image.new("RGB", (300, 200), (10, 200, 30)).save(found / "green.png")
    photographs = backgrounds.find_photographs(tmp_path)
    assert photographs == (tmp_path, ("a/b/green.png",))
    assert "3 of 4 files passed over" in capsys.readouterr().err
    backdrop = backgrounds.draw_backdrop(photographs, 64, np.random.default_rng(0))
    np.testing.assert_allclose(backdrop[..., 1], (200 / 255) ** 2.2, rtol=1e-3)


def test_a_damaged_photograph_is_replaced_by_the_next_one_and_a_lost_one_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The middle one of three plain ones is cut short; its header is still good."""
    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / f"{name}.jpg")
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    photographs = backgrounds.find_photographs(tmp_path)
    assert photographs.names == ("a.jpg", "b.jpg", "c.jpg")
    drawn = [backgrounds.draw_backdrop(photographs, 32, np.random.default_rng(seed)) for seed in range(20)]
    assert capsys.readouterr().err.count("b.jpg: is damaged") == 1  # drawn more than once
    (tmp_path / "b.jpg").write_bytes((tmp_path / "c.jpg").read_bytes())
    again = [backgrounds.draw_backdrop(photographs, 32, np.random.default_rng(seed)) for seed in range(20)]
    np.testing.assert_array_equal(drawn, again)
    (tmp_path / "b.jpg").unlink()
    seed = next(seed for seed in range(20) if np.random.default_rng(seed).integers(3) == 1)
    with pytest.raises(DataError, match=r"b\.jpg: was there when the rendering began .* start the same command again"):
        backgrounds.draw_backdrop(photographs, 32, np.random.default_rng(seed))
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="every photograph is damaged"):
        backgrounds.draw_backdrop(photographs, 32, rng)


def test_other_photographs_are_other_settings(tmp_path: Path) -> None:
    """By which an unfinished set is told from what is asked for now."""
    found = []
    for name in ("a.png", "b.png"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
        found.append(set_up(1, PEOPLE, backgrounds=tmp_path).settings())
    Image.new("RGB", (300, 200)).save(tmp_path / "b.png")  # of as many bytes would not be noticed
    found.append(set_up(1, PEOPLE, backgrounds=tmp_path).settings())
    assert json.loads(json.dumps(found)) == found
    assert len({settings.pop("backgrounds") for settings in found}) == 3
    assert found[0] == found[1] == found[2]


def test_without_the_package_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "embreex" else real(name))
    with pytest.raises(ConfigError, match=r"install it with  pip install 'integral-pose\[people\]'"):
        set_up(1, PEOPLE)
    assert main(["prepare", "synthetic", "--people", "anny", "--out", str(tmp_path / "x")]) != 0
    assert "pip install 'integral-pose[people]'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("option", [["--cameras", "wide"], ["--backgrounds", "."], ["--poses", "a.h5"]])
def test_mannequins_take_none_of_it(option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "synthetic", "--out", str(tmp_path / "x"), *option]) != 0
    assert f"{option[0]} needs --people anny" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
