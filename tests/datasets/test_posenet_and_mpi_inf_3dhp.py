"""3DMPPE's JSON and MPI-INF-3DHP, made up in their own formats."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from integral_pose.datasets.check import check_data
from integral_pose.datasets.conversion import Request
from integral_pose.datasets.human36m_table import Choice, Sequence36M
from integral_pose.datasets.mpi_inf_3dhp import (
    MEANING,
    TEST_NAMES,
    TRAIN_NAMES,
    convert_mpi_inf_3dhp,
    read_calibration,
)
from integral_pose.datasets.posenet import convert_posenet
from integral_pose.errors import DataError
from integral_pose.geometry.camera import CAMERA_IDS, human36m_camera
from integral_pose.geometry.sides import side_evidence
from integral_pose.io.frame_names import parse_frame_name
from integral_pose.skeleton import HUMAN36M, joint_order
from tests.geometry.test_sides import standing

TABLE = (Sequence36M("S1", 15, 1, "WalkingDog 1", 12, (13,) * 4), Sequence36M("S11", 2, 2, "Directions", 12, (13,) * 4))
CHOICE = Choice(("S1", "S11"), test_every=5)
WORLD_MM = standing(12)[..., [0, 2, 1]] * [0.9, 0.9, -0.9] + np.array([0, 0, 900])


def request(out: Path) -> Request:
    return Request(out, "made", show_progress=False)


def subset(folder: Path) -> dict[str, np.ndarray]:
    with h5py.File(folder) as file:
        return {key: column[:] for key, column in file.items()}


@pytest.fixture
def posenet(tmp_path: Path) -> Path:
    source = tmp_path / "posenet"
    (source / "annotations").mkdir(parents=True)
    for sequence in TABLE:
        number = int(sequence.subject[1:])
        images, cameras = [], {}
        for at, camera_id in enumerate(CAMERA_IDS, start=1):
            camera = human36m_camera(sequence.subject, camera_id)
            t = -camera.rotation @ camera.center_world_mm if number == 1 else camera.center_world_mm  # both are about
            cameras[str(at)] = {"R": camera.rotation.tolist(), "t": t.tolist(), "f": camera.focal_px.tolist(),
                                "c": camera.principal_px.tolist()}  # fmt: skip
            if (number, at) == (11, 1):
                continue  # not in the release either
            name = f"s_{number:02d}_act_{sequence.action_id:02d}_subact_{sequence.sub_action:02d}_ca_{at:02d}"
            (source / "images" / name).mkdir(parents=True)
            for row in range(12):
                path = f"{name}/{name}_{row + 1:06d}.jpg"
                Image.new("RGB", (camera.width_px, camera.height_px), (9 * row + 60,) * 3).save(
                    source / "images" / path
                )
                images.append({"file_name": path, "action_idx": sequence.action_id, "cam_idx": at,
                               "subaction_idx": sequence.sub_action, "frame_idx": row})  # fmt: skip
        joints = {
            str(sequence.action_id): {str(sequence.sub_action): {str(i): p.tolist() for i, p in enumerate(WORLD_MM)}}
        }
        for part, content in (("data", {"images": images}), ("camera", cameras), ("joint_3d", joints)):
            path = source / f"annotations/Human36M_subject{number}_{part}.json"
            path.write_text(json.dumps(content))
    return source


def test_posenet(posenet: Path, tmp_path: Path) -> None:
    summary = convert_posenet(posenet, request(tmp_path / "out"), CHOICE, TABLE)
    assert (summary.num_train, summary.num_valid) == (3 * 4, 3 * 3)
    labels = subset(tmp_path / "out/annot/train.h5")
    names = (tmp_path / "out/annot/train_images.txt").read_text().split()
    assert names[1] == "S1_WalkingDog_1.54138969_000006.jpg"
    assert (labels["action"][0], labels["sub_action"][0], labels["frame"][1]) == (b"WalkDog", 1, 6)
    camera = human36m_camera("S1", "55011271")
    absolute_mm = labels["pose3d"][3:6] + labels["root_camera_mm"][3:6, None]
    np.testing.assert_allclose(camera.camera_to_world(absolute_mm), WORLD_MM[::5], atol=0.01)
    with Image.open(tmp_path / "out/images" / names[1]) as picture:
        assert picture.getpixel((128, 128))[0] == pytest.approx(9 * 5 + 60, abs=2)  # frames count from 0 there
    assert not check_data(tmp_path / "out", show_progress=False).offenders


def test_posenet_faults_are_named(posenet: Path, tmp_path: Path) -> None:
    annotations = posenet / "annotations"
    cameras = annotations / "Human36M_subject1_camera.json"
    content = json.loads(cameras.read_text())
    content["2"]["t"][0] += 50
    cameras.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"subject1_camera.json: camera 2 is not Human3.6M's camera 55011271 of S1"):
        convert_posenet(posenet, request(tmp_path / "out"), CHOICE, TABLE)
    content["2"]["t"][0] -= 50
    cameras.write_text(json.dumps(content))
    joints = annotations / "Human36M_subject1_joint_3d.json"
    whole = joints.read_text()
    poses = json.loads(whole)
    del poses["15"]["1"]["5"]
    joints.write_text(json.dumps(poses))
    with pytest.raises(DataError, match=r"joint_3d.json: has no 17 joints for a frame of action 15, .*'5'"):
        convert_posenet(posenet, request(tmp_path / "out"), CHOICE, TABLE)
    joints.write_text(whole[:500])
    with pytest.raises(DataError, match=r"joint_3d.json: cannot be read as JSON"):
        convert_posenet(posenet, request(tmp_path / "out"), CHOICE, TABLE)
    joints.unlink()
    with pytest.raises(DataError, match=r"joint_3d.json: there is no such file or folder"):
        convert_posenet(posenet, request(tmp_path / "out"), CHOICE, TABLE)
    joints.write_text(whole)
    data = annotations / "Human36M_subject1_data.json"
    images = json.loads(data.read_text())
    data.write_text(json.dumps({"images": [e for e in images["images"] if (e["cam_idx"], e["frame_idx"]) != (1, 10)]}))
    summary = convert_posenet(posenet, request(tmp_path / "out"), CHOICE, TABLE)
    assert summary.num_train == 11
    assert any("1 of 3 frames of WalkingDog 1.54138969 are not listed" in note for note in summary.notes)


def in_order(names: tuple[str, ...], joints: np.ndarray) -> np.ndarray:
    """(n, 17, 3) of Human3.6M -> (n, len(names), 3) of MPI-INF-3DHP; joints that Human3.6M lacks are far away."""
    stored = np.full((len(joints), len(names), joints.shape[-1]), 1e4)
    stored[:, joint_order(names, [MEANING[name] for name in HUMAN36M.names])] = joints
    return stored


CALIBRATION = """Skeletool Camera Calibration File V1.0
name          {number}
  sensor        10 10
  size          512 512
  animated      0
  intrinsic     400 0 250 0 0 410 260 0 0 0 1 0 0 0 0 1
  extrinsic     0 0 -1 100 0 -1 0 200 -1 0 0 4000 0 0 0 1
  radial        0
"""


@pytest.fixture
def mpi_train(tmp_path: Path) -> Path:
    av = pytest.importorskip("av", reason="needs the extra 'prepare'")
    savemat = pytest.importorskip("scipy.io", reason="needs the extra 'prepare'").savemat
    folder = tmp_path / "mpi/S4/Seq2"
    (folder / "imageSequence").mkdir(parents=True)
    (folder / "camera.calibration").write_text("".join(CALIBRATION.format(number=at) for at in range(14)))
    joints_mm = standing(12) + np.array([0, 0, 4000])
    image_px = joints_mm[..., :2] / joints_mm[..., 2:] * [400, 410] + np.array([250, 260])
    cells = {key: np.empty((14, 1), dtype=object) for key in ("annot2", "annot3")}
    for at in range(14):
        cells["annot3"][at, 0] = in_order(TRAIN_NAMES, joints_mm + np.array([at, 0, 0])).reshape(12, -1)
        cells["annot2"][at, 0] = in_order(TRAIN_NAMES, image_px).reshape(12, -1)
    cells["annot2"][4, 0] = in_order(TRAIN_NAMES, image_px + np.array([4 * 400 / 4000, 0])).reshape(12, -1)
    savemat(folder / "annot.mat", cells)
    for at in (0, 4):
        with av.open(str(folder / f"imageSequence/video_{at}.avi"), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 512, 512, "yuv420p"
            for row in range(12):
                picture = np.full((512, 512, 3), 60 + 10 * row, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    return tmp_path / "mpi"


def test_mpi_training_set(mpi_train: Path, tmp_path: Path) -> None:
    summary = convert_mpi_inf_3dhp(mpi_train, request(tmp_path / "out"), every=5)
    assert summary.num_train == 6
    names = (tmp_path / "out/annot/train_images.txt").read_text().split()
    assert names[1] == "S4_Seq_2.0_000006.jpg"
    labels = subset(tmp_path / "out/annot/train.h5")
    expected_mm = standing(12)[::5] + np.array([0, 0, 4000])
    np.testing.assert_allclose(labels["pose3d"][:3] + labels["root_camera_mm"][:3, None], expected_mm, atol=1e-3)
    assert labels["root_camera_mm"][3:, 0] == pytest.approx(expected_mm[:, 0, 0] + 4)  # camera 4, not the fourth found
    for i, name in enumerate(names):
        with Image.open(tmp_path / "out/images" / name) as picture:
            assert picture.getpixel((128, 128))[0] == pytest.approx(60 + 10 * 5 * (i % 3), abs=4)
    assert any("meets the stored 2D within" in note for note in summary.notes)


def test_mpi_calibration_known_answer(mpi_train: Path) -> None:
    camera = read_calibration(mpi_train / "S4/Seq2/camera.calibration")[7]
    assert camera.world_to_camera(np.array([10.0, 20.0, 30.0])).tolist() == [70, 180, 3990]
    assert camera.camera_to_image_px(np.array([1000.0, 0.0, 4000.0])).tolist() == [350, 260]
    (mpi_train / "S4/Seq2/camera.calibration").write_text("name 0\n  size 512 512\n")
    with pytest.raises(DataError, match="camera.calibration: is not a camera.calibration file"):
        read_calibration(mpi_train / "S4/Seq2/camera.calibration")


def test_rows_with_exchanged_sides_are_left_out(
    mpi_train: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integral_pose.datasets.mpi_inf_3dhp.SWAPPED", (4, 2, range(4, 9)))
    summary = convert_mpi_inf_3dhp(mpi_train, request(tmp_path / "out"), every=5)
    assert summary.num_train == 4
    assert any("sides exchanged" in note for note in summary.notes)


@pytest.fixture
def mpi_test(tmp_path: Path) -> Path:
    folder = tmp_path / "mpi/TS5"
    (folder / "imageSequence").mkdir(parents=True)
    joints_mm = standing(12) + np.array([100, 0, 4000])
    image_px = joints_mm[..., :2] / joints_mm[..., 2:] * [1500, 1480] + np.array([950, 530])
    valid = np.ones((12, 1))
    valid[3:10] = 0
    with h5py.File(folder / "annot_data.mat", "w", userblock_size=512) as file:
        file["annot2"] = in_order(TEST_NAMES, image_px)[:, None]
        file["annot3"] = in_order(TEST_NAMES, joints_mm)[:, None]
        file["valid_frame"], file["activity_annotation"] = valid, np.array([[1.0]] * 11 + [[7.0]])
    for row in (0, 1, 2, 10, 11):
        Image.new("RGB", (1920, 1080), (9 * row + 60,) * 3).save(folder / f"imageSequence/img_{row + 1:06d}.jpg")
    return tmp_path / "mpi"


def test_mpi_test_set(mpi_test: Path, tmp_path: Path) -> None:
    summary = convert_mpi_inf_3dhp(mpi_test, request(tmp_path / "out"))
    assert summary.num_valid == 5
    names = (tmp_path / "out/annot/valid_images.txt").read_text().split()
    assert names[-1] == "TS5_Misc.0_000012.jpg"
    parsed = parse_frame_name(names[0])
    assert parsed is not None
    assert (parsed.subject, parsed.action) == ("TS5", "StandWalk")
    labels = subset(tmp_path / "out/annot/valid.h5")
    np.testing.assert_allclose(labels["camera"][0], [1500, 1480, 950, 530, 0, 0, 0, 0, 0], atol=1e-3)
    assert side_evidence(labels["pose3d"]).agreement > 0.9
    assert not check_data(tmp_path / "out", show_progress=False).offenders


def test_mpi_faults_are_named(mpi_test: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither S1/Seq1 .. S8/Seq2 nor TS1 .. TS6"):
        convert_mpi_inf_3dhp(tmp_path, request(tmp_path / "out"))
    path = mpi_test / "TS5/annot_data.mat"
    with h5py.File(path, "r+") as file:
        poses = file["annot3"][...]
        file["annot3"][...] = poses * [-1, 1, 1]
    with pytest.raises(DataError, match=r"annot_data.mat: the poses are mirrored"):
        convert_mpi_inf_3dhp(mpi_test, request(tmp_path / "out"))
    with h5py.File(path, "r+") as file:
        del file["annot2"]
    with pytest.raises(DataError, match=r"annot_data.mat: has no 'annot2'"):
        convert_mpi_inf_3dhp(mpi_test, request(tmp_path / "out"))
    path.write_bytes(path.read_bytes()[:1200])
    with pytest.raises(DataError, match=r"annot_data.mat: is damaged, cut short"):
        convert_mpi_inf_3dhp(mpi_test, request(tmp_path / "out"))
    (mpi_test / "S1/Seq1").mkdir(parents=True)
    with pytest.raises(DataError, match=r"S1/Seq1/annot.mat: there is no such file"):
        convert_mpi_inf_3dhp(mpi_test, request(tmp_path / "out"))
