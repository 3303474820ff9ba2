"""--poses: what other readers of labels refuse is refused here too, and poses stand as they stood in their room."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from integral_pose.cli.main import main
from integral_pose.datasets.writer import write_split
from integral_pose.errors import DataError
from integral_pose.geometry.camera import human36m_camera
from integral_pose.geometry.sides import C2F_TO_HUMAN36M
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.actions import draw_pose
from integral_pose.synthetic.body_model import BODIES, pose_body, rotation_matrix

MISSING = [name for name in ("anny", "embreex") if importlib.util.find_spec(name) is None]
if MISSING:
    pytest.skip(f"the extra 'people' is not installed ({', '.join(MISSING)})", allow_module_level=True)

from integral_pose.synthetic.people import pose_file  # noqa: E402
from integral_pose.synthetic.people.people_painter import set_up  # noqa: E402
from integral_pose.synthetic.people.pose_file import PoseFile, check_pose_file, read_poses, try_poses  # noqa: E402
from integral_pose.synthetic.presets import PEOPLE  # noqa: E402

Array = NDArray[np.float64]
CAMERA = human36m_camera("S1", "54138969")
LENS = np.concatenate([CAMERA.focal_px, CAMERA.principal_px, CAMERA.radial, CAMERA.tangential])
LEVEL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # world axes -> those of a camera that looks along y, level


@pytest.fixture(scope="module")
def world_mm() -> Array:
    """(12, 17, 3) people who stand in a room, z up."""
    rng = np.random.default_rng(5)
    poses = [pose_body(BODIES["S1"], draw_pose("Posing", rng)) for _ in range(12)]
    turned = [pose.moved(rotation_matrix(0.5 * turn, 0, 0), np.zeros(3)) for turn, pose in enumerate(poses)]
    return np.array([pose.joints_mm for pose in turned])


def write(folder: Path, camera_mm: Array, **columns: Any) -> Path:
    """A set of these poses, root-relative; its pictures are named as those of `CAMERA`."""
    folder.mkdir(exist_ok=True)
    names = [f"S1_Posing_1.54138969_{row + 1:06d}.jpg" for row in range(len(camera_mm))]
    write_split(folder, "valid", names, {"pose3d": camera_mm - camera_mm[:, :1], **columns})
    return folder / "valid.h5"


def seen(world_mm: Array) -> tuple[Array, Array]:
    """(N, 17, 3) mm in the axes of `CAMERA`, and (N, 17, 2) px."""
    camera_mm = CAMERA.world_to_camera(world_mm)
    return camera_mm, CAMERA.camera_to_image_px(camera_mm)


def test_poses_stand_as_they_stood(world_mm: Array, tmp_path: Path) -> None:
    camera_mm, px = seen(world_mm)
    file = check_pose_file(write(tmp_path, camera_mm, pose2d=px, camera=np.tile(LENS, (12, 1))))
    np.testing.assert_allclose(read_poses(file), world_mm - world_mm[:, :1], atol=1e-3)
    fitted = try_poses(file)
    assert (fitted.num_tried, fitted.num_out_of_reach) == (12, 0)
    assert fitted.mean_error_mm < 40


def test_a_lens_other_than_the_names_says_that_the_camera_is_another(world_mm: Array, tmp_path: Path) -> None:
    other = LENS * (0.8, 0.8, *np.ones(7))
    file = check_pose_file(write(tmp_path, world_mm @ LEVEL.T, camera=np.tile(other, (12, 1))))
    standing_mm = read_poses(file)[:, :, 2]
    np.testing.assert_allclose(standing_mm, world_mm[:, :, 2] - world_mm[:, :1, 2], atol=1e-3)


def test_a_left_leg_that_comes_first_is_put_last(world_mm: Array, tmp_path: Path) -> None:
    file = check_pose_file(write(tmp_path, seen(world_mm)[0][:, C2F_TO_HUMAN36M]))
    assert file.order == "c2f"
    np.testing.assert_allclose(read_poses(file), world_mm - world_mm[:, :1], atol=1e-3)


def test_metres_and_other_axes_are_refused(world_mm: Array, tmp_path: Path) -> None:
    camera_mm, px = seen(world_mm)
    with pytest.raises(DataError, match="metres"):
        check_pose_file(write(tmp_path, camera_mm / 1000))
    with pytest.raises(DataError, match="y up"):
        check_pose_file(write(tmp_path, camera_mm * (1, -1, -1), pose2d=px))
    with pytest.raises(DataError, match="mirrored"):
        check_pose_file(write(tmp_path, camera_mm * (-1, 1, 1)))


def test_poses_without_all_labels_are_left_out_and_counted(
    world_mm: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera_mm, visible = seen(world_mm)[0], np.ones((12, 17))
    camera_mm[3, 16], visible[7, 2] = np.nan, 0
    camera_mm[9, 5] = camera_mm[9, 4]  # a thigh of no length
    path = write(tmp_path, camera_mm, visible=visible)
    kept = np.delete(np.arange(12), [3, 7, 9])
    expected_mm = (world_mm - world_mm[:, :1])[kept]
    np.testing.assert_allclose(read_poses(check_pose_file(path)), expected_mm, atol=1e-3)
    assert f"{path}: 3 of 12 poses left out" in capsys.readouterr().err
    visible[:, 2] = 0
    with pytest.raises(DataError, match="none of its 12 poses has all joints"):
        check_pose_file(write(tmp_path / "none", camera_mm, visible=visible))


def test_other_joints_are_refused_with_both_lists(world_mm: Array, tmp_path: Path) -> None:
    path = write(tmp_path, world_mm[:, :3])
    (tmp_path / "skeleton.yaml").write_text(
        "joints: [a, b, c]\nparents: {b: a, c: a}\nmirror_pairs: [[b, c]]\nroot: a\n"
    )
    with pytest.raises(DataError, match=r"its joints are a, b, c; --poses takes Human3.6M's: Hip, RHip, .*RWrist$"):
        check_pose_file(path)


def test_files_that_are_no_sets(tmp_path: Path, world_mm: Array) -> None:
    path = write(tmp_path, world_mm)
    with h5py.File(path, "w") as file:
        file["pose2d"] = np.zeros((12, 17, 2))
    for wrong, told in ((path, "has no 'pose3d'"), (tmp_path, "has no 'pose3d'"), (tmp_path / "x.h5", "no such file")):
        with pytest.raises(DataError, match=told):
            check_pose_file(wrong)
    write(tmp_path, world_mm)
    (tmp_path / "valid_images.txt").write_text("one.jpg\n")
    with pytest.raises(DataError, match="12 rows, but .*valid_images.txt lists 1 images"):
        check_pose_file(path)


def test_who_is_out_of_reach_is_passed_over(
    world_mm: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A head that hangs straight down from the collar, which no neck lets it."""
    names = HUMAN36M.names.index
    broken = world_mm[:2].copy()
    for joint in ("Neck/Nose", "Head"):
        broken[1, names(joint)] = broken[1, names("Thorax")] - (0, 0, 120 if joint == "Head" else 60)
    monkeypatch.setattr(pose_file, "OUT_OF_REACH_MM", 100.0)
    path = write(tmp_path, seen(broken)[0])
    painter = set_up(1, PEOPLE, poses=path)
    assert "of 2 poses tried" in (told := capsys.readouterr().err)
    assert "1 are out of its reach" in told
    assert painter.poses == PoseFile(path, "official")
    with pytest.raises(DataError, match="none of 1 poses can be had"):
        try_poses(check_pose_file(write(tmp_path / "broken", seen(broken[1:])[0])))


def test_the_command_lends_poses(world_mm: Array, tmp_path: Path) -> None:
    command = ["prepare", "synthetic", "--people", "anny", "--out", str(tmp_path / "set"), "--train", "2"]
    command += ["--valid", "1", "--workers", "1", "--poses"]
    assert main([*command, str(write(tmp_path, seen(world_mm)[0] / 1000))]) == 3
    assert main([*command, str(write(tmp_path, seen(world_mm)[0]))]) == 0
    with h5py.File(tmp_path / "set/annot/train.h5") as file:
        assert file["pose3d"].shape == (2, 17, 3)
