"""mmpose's and the coarse-to-fine release: on the real samples where they are, else on made-up files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from integral_pose.datasets.c2f import convert_c2f
from integral_pose.datasets.check import check_data
from integral_pose.datasets.conversion import Request
from integral_pose.datasets.human36m_pictures import find_camera
from integral_pose.datasets.mmpose import convert_mmpose, read_cameras
from integral_pose.errors import DataError
from integral_pose.geometry.camera import human36m_camera
from integral_pose.geometry.crop import crop_c2f
from integral_pose.geometry.sides import side_evidence, to_human36m_order
from integral_pose.io.readers import read_pickle
from tests.geometry.test_sides import standing

SAMPLES = Path(os.environ.get("INTEGRAL_POSE_SAMPLES", "data/samples"))
MMPOSE, C2F = SAMPLES / "h36m_mmpose_sample", SAMPLES / "c2f_sample"

CAMERA_KEY = ("S5", "55011271")
NUM_POSES = 12


def request(out: Path, **options: object) -> Request:
    return Request(out, "made", show_progress=False, **options)  # type: ignore[arg-type]


def names_of(subject: str = "S5") -> list[str]:
    return [f"{subject}_Walking_1.55011271_{i + 1:06d}.jpg" for i in range(NUM_POSES)]


def joints_mm() -> np.ndarray:
    return standing(NUM_POSES) * 0.9 + [100, -50, 5000]


@pytest.fixture
def mmpose(tmp_path: Path) -> Path:
    """A made-up source in mmpose's form; one camera, metres, camera-to-world rotation."""
    source = tmp_path / "mmpose"
    folder = source / "images/S5/S5_Walking_1.55011271"
    folder.mkdir(parents=True)
    for name in names_of():
        Image.new("RGB", (1000, 1000), (90, 120, 60)).save(folder / name)
    camera = human36m_camera(*CAMERA_KEY)
    image_px = camera.camera_to_image_px(joints_mm())
    ones = np.ones((NUM_POSES, 17, 1))
    np.savez(
        source / "h36m_train.npz",
        imgname=np.array([f"S5/S5_Walking_1.55011271/{name}" for name in names_of()]),
        S=np.concatenate([joints_mm() / 1000, ones], axis=-1),
        part=np.concatenate([image_px, ones], axis=-1),
    )
    cameras = {CAMERA_KEY: {"R": camera.rotation.T, "T": camera.center_world_mm[:, None] / 1000,
                            "f": camera.focal_px[:, None], "c": camera.principal_px[:, None],
                            "k": camera.radial[:, None], "p": camera.tangential[:, None],
                            "w": 1000, "h": 1000}}  # fmt: skip
    (source / "cameras.pkl").write_bytes(pickle.dumps(cameras))
    return source


def test_mmpose_gives_millimetres_in_camera_axes(mmpose: Path, tmp_path: Path) -> None:
    summary = convert_mmpose(mmpose, request(tmp_path / "out"))
    assert (summary.num_train, summary.num_valid) == (NUM_POSES, 0)
    with h5py.File(tmp_path / "out/annot/train.h5") as file:
        labels = {key: column[:] for key, column in file.items()}
    np.testing.assert_allclose(labels["pose3d"] + labels["root_camera_mm"][:, None], joints_mm(), atol=1e-3)
    assert (labels["subject"][0], labels["action"][0], labels["sub_action"][0]) == (b"S5", b"Walking", 1)
    assert not check_data(tmp_path / "out", show_progress=False).offenders


def test_mmpose_cameras_are_turned_into_ours(mmpose: Path) -> None:
    cameras, known = read_cameras(mmpose / "cameras.pkl"), human36m_camera(*CAMERA_KEY)
    read = find_camera(cameras, *CAMERA_KEY)
    np.testing.assert_allclose(read.rotation, known.rotation)
    np.testing.assert_allclose(read.center_world_mm, known.center_world_mm)
    assert find_camera(cameras, "S7", "54138969").height_px == 1002  # not in the pickle: the packaged one
    with pytest.raises(DataError, match="no calibrated camera 54138969 of subject S2"):
        find_camera(cameras, "S2", "54138969")


def test_of_two_frame_rates_the_lower_is_taken(mmpose: Path, tmp_path: Path) -> None:
    content = dict(np.load(mmpose / "h36m_train.npz"))
    (mmpose / "h36m_train.npz").unlink()
    for folder, rows in (("fps10", slice(0, 12, 5)), ("fps50", slice(None))):
        (mmpose / folder).mkdir()
        np.savez(mmpose / folder / "h36m_train.npz", **{key: column[rows] for key, column in content.items()})
    assert convert_mmpose(mmpose, request(tmp_path / "out")).num_train == 3


def test_its_test_data_have_other_joints_beside_and_pictures_in_no_folders(
    mmpose: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = dict(np.load(mmpose / "h36m_train.npz"))
    np.savez(mmpose / "h36m_mesh_train.npz", **{**content, "S": np.zeros((NUM_POSES, 24, 4))})
    np.savez(mmpose / "whole_body_train.npz", metadata=np.zeros(3))
    for name in names_of():
        (mmpose / "images/S5/S5_Walking_1.55011271" / name).rename(mmpose / name)
    assert convert_mmpose(mmpose, request(tmp_path / "out")).num_train == NUM_POSES
    said = capsys.readouterr().err
    for name in ("h36m_mesh_train.npz", "whole_body_train.npz"):
        assert f"{name}: passed over, since it does not hold the 17 joints\n" in said


def test_mmpose_faults_are_named(mmpose: Path, tmp_path: Path) -> None:
    annotations = mmpose / "h36m_train.npz"
    content = dict(np.load(annotations))
    np.savez(annotations, **{**content, "part": content["part"] + 100})
    with pytest.raises(DataError, match=r"h36m_train.npz: .* miss the stored 2D joints by up to"):
        convert_mmpose(mmpose, request(tmp_path / "out"))
    np.savez(annotations, **{**content, "S": content["S"][:, :16]})
    with pytest.raises(DataError, match=r"'S' is float64 of shape \(12, 16, 4\), expected .* \(N, 17, 4\)"):
        convert_mmpose(mmpose, request(tmp_path / "out"))
    np.savez(annotations, **{key: content[key] for key in ("imgname", "S")})
    with pytest.raises(DataError, match="has no 'part'; it has: imgname, S"):
        convert_mmpose(mmpose, request(tmp_path / "out"))
    annotations.write_bytes(annotations.read_bytes()[:300])
    with pytest.raises(DataError, match=r"h36m_train.npz: is damaged"):
        convert_mmpose(mmpose, request(tmp_path / "out"))
    np.savez(annotations, **content)
    picture = mmpose / "images" / str(content["imgname"][3])
    Image.new("RGB", (640, 480)).save(picture)
    with pytest.raises(DataError, match=r"000004.jpg: is 640 x 480 px, but its labels are in pixels of .* 1000 x 1000"):
        convert_mmpose(mmpose, request(tmp_path / "out"))
    picture.write_bytes(b"\xff\xd8 no more")
    with pytest.raises(DataError, match=r"000004.jpg: is damaged"):
        convert_mmpose(mmpose, request(tmp_path / "out"))
    np.savez(mmpose / "h36m_train_fps50.npz", **content)
    with pytest.raises(DataError, match=r"has 2 files \*train\*.npz"):
        convert_mmpose(mmpose, request(tmp_path / "out"))


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "made by the pickle"),))

    for number, content in enumerate((Evil(), {"a": [Evil()]}, np.array([Evil()], dtype=object))):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=rf"{number}.pkl: holds posix.mkdir, which could run code"):
            read_pickle(path)
    assert not (tmp_path / "made by the pickle").exists()
    plain = {("S1", "5"): {"R": np.eye(3), "n": np.float64(2), "w": 3}}
    for protocol in range(6):
        (tmp_path / "plain.pkl").write_bytes(pickle.dumps(plain, protocol))
        assert read_pickle(tmp_path / "plain.pkl")[("S1", "5")]["R"].tolist() == np.eye(3).tolist()


def c2f_source(folder: Path, names: list[str]) -> Path:
    """images/ with one picture under all names, annot/ empty."""
    (folder / "annot").mkdir(parents=True)
    (folder / "images").mkdir()
    first = folder / "images" / names[0]
    Image.new("RGB", (1000, 1000), (90, 120, 60)).save(first)
    for name in names[1:]:
        (folder / "images" / name).hardlink_to(first)
    return folder


def test_c2f_release_is_turned_into_the_official_order(tmp_path: Path) -> None:
    source = c2f_source(tmp_path / "c2f", names_of())
    stored_mm = to_human36m_order(joints_mm(), "c2f")
    with h5py.File(source / "annot/train.h5", "w") as file:
        file["S"] = stored_mm
        file["part"] = human36m_camera(*CAMERA_KEY).camera_to_image_px(stored_mm)
    (source / "annot/train_images.txt").write_text("".join(f"{name}\n" for name in names_of()))
    summary = convert_c2f(source, request(tmp_path / "out"))
    assert any("joint order c2f, turned to official" in note for note in summary.notes)
    with h5py.File(tmp_path / "out/annot/train.h5") as file:
        poses_mm, roots_mm = file["pose3d"][:], file["root_camera_mm"][:]
        crop_px, crop_to_image = file["pose2d"][:], file["crop_to_image"][:]
    np.testing.assert_allclose(poses_mm + roots_mm[:, None], joints_mm(), atol=1e-3)
    image_px = human36m_camera(*CAMERA_KEY).camera_to_image_px(joints_mm())
    np.testing.assert_allclose(crop_px * crop_to_image[:, None, 2:] + crop_to_image[:, None, :2], image_px, atol=1e-3)


def test_c2f_faults_are_named(tmp_path: Path) -> None:
    source = c2f_source(tmp_path / "c2f", names_of())
    with pytest.raises(DataError, match="neither train.h5, valid.h5, train.mat nor valid.mat"):
        convert_c2f(source, request(tmp_path / "out"))
    with h5py.File(source / "annot/valid.h5", "w") as file:
        file["center"] = np.zeros((3, 2))
    with pytest.raises(DataError, match=r"valid.h5: has no 3D poses 'S', and there is no valid.mat"):
        convert_c2f(source, request(tmp_path / "out"))
    with h5py.File(source / "annot/valid.mat", "w") as file:
        file["annot"] = np.zeros(3)
    data = (source / "annot/valid.mat").read_bytes()
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"  # what MATLAB puts before an HDF5 file
    (source / "annot/valid.mat").write_bytes(header.ljust(512, b"\0") + data)
    with pytest.raises(DataError, match=r"valid.mat: is a MATLAB file of version 7.3, where version 7 or older"):
        convert_c2f(source, request(tmp_path / "out"))
    (source / "annot/valid.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(DataError, match=r"valid.mat: is damaged or no MATLAB file"):
        convert_c2f(source, request(tmp_path / "out"))
    with h5py.File(source / "annot/train.h5", "w") as file:
        file["S"] = joints_mm()
    (source / "annot/train_images.txt").write_text(f"{names_of()[0]}\n")
    with pytest.raises(DataError, match=r"train.h5: has 12 poses, but 1 images are named"):
        convert_c2f(source, request(tmp_path / "out"))
    (source / "annot/train.h5").write_bytes((source / "annot/train.h5").read_bytes()[:1000])
    with pytest.raises(DataError, match=r"train.h5: is damaged, cut short"):
        convert_c2f(source, request(tmp_path / "out"))


@pytest.mark.skipif(not MMPOSE.is_dir(), reason=f"no real sample in {MMPOSE} (INTEGRAL_POSE_SAMPLES names its folder)")
def test_real_mmpose_sample(tmp_path: Path) -> None:
    for layout, crop in (("files", "c2f"), ("packed", "tight"), ("files", "metric")):
        out = tmp_path / f"{layout}_{crop}"
        summary = convert_mmpose(MMPOSE, request(out, layout=layout, crop=crop))
        residual_px = float(summary.notes[1].split("within ")[1].split(" px")[0])
        assert residual_px < 1e-3
        assert not check_data(out, show_progress=False).offenders


@pytest.mark.skipif(not C2F.is_dir(), reason=f"no real sample in {C2F} (INTEGRAL_POSE_SAMPLES names its folder)")
def test_real_c2f_sample(tmp_path: Path) -> None:
    loadmat = pytest.importorskip("scipy.io", reason="needs the extra 'prepare'").loadmat
    source = c2f_source(tmp_path / "c2f", (C2F / "annot/valid_images.txt").read_text().split())
    for path in (C2F / "annot").iterdir():
        (source / "annot" / path.name).symlink_to(path.resolve())
    summary = convert_c2f(source, request(tmp_path / "out", layout="packed"))
    assert summary.num_valid == 394
    assert any("joint order c2f, turned to official" in note for note in summary.notes)
    annot = loadmat(C2F / "annot/valid.mat")["annot"][0, 0]
    with h5py.File(tmp_path / "out/annot/valid.h5") as file:
        poses_mm, crop_to_image = file["pose3d"][:], file["crop_to_image"][:]
    assert side_evidence(poses_mm).order == "official"
    # The release's own boxes: their middle, and 200 times the scale for a side.
    middle_px = crop_to_image[:, :2] + 128 * crop_to_image[:, 2:]
    np.testing.assert_allclose(middle_px, annot["center"], atol=1e-3)
    np.testing.assert_allclose(crop_to_image[:, 2] * 256, annot["scale"][:, 0] * 200, atol=1e-3)


def test_crop_c2f_is_the_one_of_the_release() -> None:
    assert crop_c2f(np.array([[412.99722, 297.57162], [520.31543, 633.76935]]), 256).side_px == pytest.approx(
        376.198, abs=1e-3
    )
