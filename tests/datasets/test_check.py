"""check-data finds what is wrong and names it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from integral_pose.cli.main import main
from integral_pose.config.schema import Config
from integral_pose.datasets.check import CheckReport, check_data
from integral_pose.datasets.conversion import Request, convert
from integral_pose.datasets.recording import PictureRecording, VideoRecording
from integral_pose.errors import DataError
from integral_pose.experiment.assembly import read_training_data
from integral_pose.geometry.camera import human36m_camera
from integral_pose.io.resampling import encode_crop
from tests.geometry.test_label_axes import along_the_axis
from tests.geometry.test_sides import standing

CAMERA = human36m_camera("S1", "54138969")
RUN = {"run_dir": "run", "stages": [{"epochs": 1, "learning_rate": 0.001}]}


def recording(folder: Path, subject: str, split: str, count: int = 12) -> PictureRecording:
    """A person turning before the camera, in front of noise."""
    joints_mm = standing(count) * 0.9 + [0, 0, 5000]
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(7 if split == "train" else 8)
    names = [f"{subject}_Walking_1.54138969_{i + 1:06d}.jpg" for i in range(count)]
    for name in names:
        coarse = Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8))
        coarse.resize((1000, 1002)).save(folder / name, quality=70)
    return PictureRecording(split=split, name=f"{subject}_Walking_1.54138969", paths=[folder / name for name in names],
                            file_names=names, joints_camera_mm=joints_mm,
                            joints_image_px=CAMERA.camera_to_image_px(joints_mm), camera=CAMERA)  # fmt: skip


@pytest.fixture(scope="module", params=["files", "packed"])
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, layout: str) -> Path:
    folder = tmp_path_factory.mktemp("made")
    recordings = [recording(folder / "pictures", "S1", "train"), recording(folder / "pictures", "S9", "valid", 4)]
    convert(recordings, Request(folder / "set", "made", layout, show_progress=False), {})
    return folder / "set"


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "set"))


def check(root: Path) -> CheckReport:
    return check_data(root, show_progress=False)


def bad(root: Path) -> dict[tuple[str, str], str]:
    """(split, check) -> result and rows of the offenders."""
    return {(f.split, f.check): "\n".join([f.result, *f.rows]) for f in check(root).offenders}


def change(root: Path, key: str, edit: Callable[[np.ndarray], object], split: str = "train") -> None:
    with h5py.File(root / f"annot/{split}.h5", "r+") as file:
        values = file[key][...]
        edit(values)
        file[key][...] = values


def test_a_good_set_passes_and_is_drawn(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = root.parent / "made.png"
    assert main(["check-data", str(root), "--sheet", str(sheet), "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "all checks passed" in printed
    assert "order official: hips along shoulders +1.00" in printed
    with Image.open(sheet) as picture:
        assert picture.width == 6 * 288


def test_a_bad_set_gives_status_1_and_the_offenders(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(root, "pose3d", lambda poses: poses.__setitem__((5, 3, 0), np.inf))
    assert main(["check-data", str(root), "--sheet", str(root.parent / "s.png"), "--workers", "1"]) == 1
    printed = capsys.readouterr().out
    assert "row 5: S1_Walking_1.54138969_000006.jpg" in printed
    assert "1 of 33 checks failed" in printed


def test_damaged_images_are_named(root: Path, layout: str) -> None:
    if layout == "files":
        path = root / "images/S1_Walking_1.54138969_000003.jpg"
        path.write_bytes(path.read_bytes()[:2000])
        (root / "images/S1_Walking_1.54138969_000004.jpg").unlink()
    else:
        with h5py.File(root / "annot/train.h5", "r+") as file:
            offsets = file["images/offsets"][...]
            for row, begin in ((2, 500), (3, 0)):
                file["images/bytes"][offsets[row] + begin : offsets[row + 1]] = 0
    found = bad(root)
    assert set(found) == {("train", "images decode")}
    assert "10 of 12" in found["train", "images decode"]
    assert "000003.jpg" in found["train", "images decode"]
    assert "000004.jpg" in found["train", "images decode"]


def test_odd_offsets_are_found(root: Path, layout: str) -> None:
    if layout == "packed":
        change(root, "images/offsets", lambda offsets: offsets.__setitem__(4, 0))
        assert "rising" in bad(root)["train", "files"]


def test_an_image_of_another_size_is_named(root: Path, layout: str) -> None:
    if layout == "files":
        Image.new("RGB", (200, 256)).save(root / "images/S9_Walking_1.54138969_000002.jpg")
        assert "S9_Walking_1.54138969_000002.jpg: 200 x 256 px" in bad(root)["valid", "image size"]


@pytest.mark.parametrize(
    ("key", "edit", "checks"),
    [
        ("pose2d", lambda v: v.__setitem__((slice(0, 8), 4), 300), {"axes", "3D meets 2D"}),
        ("pose2d", lambda v: v.__iadd__(300), {"pose2d inside crop", "3D meets 2D"}),  # of the picture
        ("pose2d", lambda v: v.__setitem__((3, 4, 0), v[3, 4, 0] + 1.5), {"3D meets 2D"}),
        ("pose3d", lambda v: v.__imul__(0.001), {"bone lengths", "3D meets 2D"}),  # metres
        ("pose3d", lambda v: v.__setitem__(slice(0, 6), v[:6] * 0.7), {"bones constant", "3D meets 2D"}),
        ("pose3d", lambda v: v.__setitem__((..., 0), -v[..., 0]), {"axes", "left and right", "3D meets 2D"}),
        ("pose3d", lambda v: v.__imul__([1, -1, -1]), {"axes", "3D meets 2D"}),  # y up, z towards the camera
        ("pose3d", lambda v: v.__setitem__(3, v[3] * [1, -1, -1]), {"axes", "3D meets 2D"}),  # in one row
        ("camera", lambda v: v.__setitem__((7, 0), v[7, 0] + 300), {"3D meets 2D"}),
        ("root_camera_mm", lambda v: v.__setitem__((slice(None), 0), np.nan), {"3D meets 2D"}),
    ],
)
def test_faults_of_the_labels_are_told_apart(root: Path, key: str, edit: Callable[..., object], checks: set) -> None:
    change(root, key, edit)
    assert {check for _, check in bad(root)} == checks


def test_one_joint_outside_is_a_remark(root: Path) -> None:
    with h5py.File(root / "annot/train.h5", "r+") as file:
        del file["camera"]
    change(root, "pose2d", lambda v: v.__setitem__((3, 4, 0), 260))
    report = check(root)
    assert not report.offenders
    assert any(f.check == "pose2d inside crop" and f.result.startswith("1 of 12") for f in report.findings)
    assert any(f.check == "3D meets 2D" and "no 'camera'" in f.result for f in report.findings)


def test_left_leg_first_is_reported(root: Path) -> None:
    for key in ("pose2d", "pose3d"):
        change(root, key, lambda v: v.__setitem__((slice(None), slice(1, 7)), v[:, [4, 5, 6, 1, 2, 3]]))
    report = check(root)
    assert not report.offenders
    assert any("order c2f: hips along shoulders -1.00" in finding.result for finding in report.findings)


def test_faults_of_the_list(root: Path, layout: str) -> None:
    path = root / "annot/train_images.txt"
    names = path.read_text().split()
    path.write_text("\n".join(names[:-1]))
    if layout == "packed":
        assert "has 13 entries, expected 12 rising ones" in bad(root)["train", "files"]
    else:
        assert "'pose2d' is float32 (12, 17, 2), expected numbers (11, 17, 2)" in bad(root)["train", "labels"]
    path.write_text("\n".join([*names[:-1], names[0]]))
    assert f"{names[0]}: listed 2 times" in bad(root)["train", "duplicates"]
    with h5py.File(root / "annot/train.h5", "r+") as file:
        file["subject"][-1] = b"S9"
    assert "S9 is in both" in bad(root)["both", "subjects apart"]
    path.write_text("")
    assert ("train", "files" if layout == "packed" else "images") in bad(root)


def test_a_truncated_label_file_is_named(root: Path) -> None:
    path = root / "annot/train.h5"
    path.write_bytes(path.read_bytes()[:1500])
    assert "train.h5: is damaged, cut short or no HDF5 file" in bad(root)["train", "files"]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no data set"):
        check(tmp_path)


def test_a_test_set_may_have_no_labels(root: Path, layout: str) -> None:
    if layout == "files":
        (root / "annot/valid.h5").unlink()
        assert not check(root).offenders
        (root / "annot/train.h5").unlink()
        assert ("train", "labels") in bad(root)


def test_encode_crop_is_what_the_set_holds() -> None:
    from integral_pose.geometry.crop import Crop

    assert encode_crop(np.zeros((300, 300, 3), np.uint8), Crop(0, 0, 1, 256)).startswith(b"\xff\xd8")


def test_converters_refuse_poses_in_other_axes_before_a_picture_is_read(tmp_path: Path) -> None:
    good = recording(tmp_path / "pictures", "S1", "train")
    y_up = dataclasses.replace(good, joints_camera_mm=good.joints_camera_mm * [1, -1, 1], paths=[Path("gone")] * 12)
    with pytest.raises(DataError, match=r"^S1_Walking_1\.54138969: the joints in px .* y up"):
        convert([y_up], Request(tmp_path / "set", "made", show_progress=False), {})

    class Video(VideoRecording):
        def read_joints(self, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
            return y_up.joints_camera_mm, y_up.joints_image_px

    video = Video("S1_Walking_1.54138969", "train", Path("gone.mp4"), range(12), CAMERA)
    with pytest.raises(DataError, match="y up"):
        next(video.frames([]))


def resize_images(root: Path, split: str, size_px: tuple[int, int]) -> None:
    for name in (root / f"annot/{split}_images.txt").read_text().split():
        with Image.open(root / "images" / name) as picture:
            picture.resize(size_px).save(root / "images" / name)


def results(root: Path) -> dict[tuple[str, str], str]:
    return {(finding.split, finding.check): finding.result for finding in check(root).findings}


def test_crops_of_any_one_square_size_pass(root: Path, layout: str) -> None:
    if layout == "packed":
        return
    for split in ("train", "valid"):
        resize_images(root, split, (384, 384))
        change(root, "pose2d", lambda v: v.__imul__(1.5), split)
        change(root, "crop_to_image", lambda v: v.__imul__([1, 1, 1 / 1.5]), split)
    assert not bad(root)
    assert "data.stored_size=384" in results(root)["both", "one image size"]
    resize_images(root, "valid", (256, 256))
    change(root, "pose2d", lambda v: v.__imul__(1 / 1.5), "valid")
    assert "train 384 x 384, valid 256 x 256; crop all" in bad(root)["both", "one image size"]
    for split in ("train", "valid"):
        resize_images(root, split, (320, 240))
    assert "have to be square" in bad(root)["both", "one image size"]


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("anna/take0/frame_{:05d}.jpg", "anna"),
        ("s_01_act_02_subact_01_ca_01/s_01_act_02_subact_01_ca_01_{:06d}.jpg", "S1"),
        ("videos/S1_walk_{:06d}.jpg", "S1"),
        ("bob_{:03d}.jpg", "bob"),
    ],
)
def test_other_names_pass_and_say_who_it_is(name: str, subject: str, root: Path, layout: str) -> None:
    if layout == "files":
        names = (root / "annot/train_images.txt").read_text().split()
        for row, old in enumerate(names):
            path = root / "images" / name.format(row)
            path.parent.mkdir(parents=True, exist_ok=True)
            (root / "images" / old).rename(path)
        (root / "annot/train_images.txt").write_text("".join(f"{name.format(row)}\n" for row in range(len(names))))
        with h5py.File(root / "annot/train.h5", "r+") as file:
            del file["subject"]
        assert not bad(root)
        assert results(root)["both", "subjects apart"] == f"{subject} train; S9 test"
        assert results(root)["train", "names parse"].startswith("0 of 12; scores know no action of")


def test_people_along_the_axis_of_the_camera_are_no_offenders(root: Path) -> None:
    px, mm = along_the_axis()
    px, mm = px[:12], mm[:12]
    change(root, "pose2d", lambda v: v.__setitem__(slice(None), (px - px.mean((0, 1))) / 4 + 128))
    change(root, "pose3d", lambda v: v.__setitem__(slice(None), mm - mm[:, :1]))
    assert results(root)["train", "axes"] == "0 rows the other way; 12 rows follow in perspective alone"
    assert ("train", "axes") not in bad(root)


def test_a_word_that_all_names_begin_with_is_no_subject_in_both(root: Path, layout: str) -> None:
    for split in ("train", "valid"):
        names = (root / f"annot/{split}_images.txt").read_text().split()
        for row, old in enumerate(names):
            if layout == "files":
                (root / "images" / old).rename(root / "images" / f"IMG_{split}{row}.jpg")
        listed = "".join(f"IMG_{split}{row}.jpg\n" for row in range(len(names)))
        (root / f"annot/{split}_images.txt").write_text(listed)
        with h5py.File(root / f"annot/{split}.h5", "r+") as file:
            del file["subject"]
    assert not bad(root)
    assert "; IMG in both, as guessed from the paths: say who" in results(root)["both", "subjects apart"]


def test_the_column_says_who_it_is_in_check_data_and_in_training(root: Path) -> None:
    change(root, "subject", lambda v: v.__setitem__(slice(0, 6), b"S9"))
    assert "S9 is in both" in bad(root)["both", "subjects apart"]
    config = Config.model_validate({**RUN, "data": {"root": str(root), "val_subjects": ["S9"]}})
    train, held_out, *_ = read_training_data(config)
    assert held_out is not None
    assert (len(train), [held_out.name(row)[-10:-4] for row in range(6)]) == (6, [f"{i:06d}" for i in range(1, 7)])


def test_joints_in_px_of_the_picture_are_refused_by_training_too(root: Path) -> None:
    change(root, "pose2d", lambda v: v.__iadd__(300))
    config = Config.model_validate({**RUN, "data": {"root": str(root)}})
    with pytest.raises(DataError, match=r"100% of the joints in 'pose2d'.* outside of the crops of 256 x 256 px"):
        read_training_data(config)


def test_what_training_refuses_is_an_offender(root: Path) -> None:
    (root / "annot/mean.txt").write_text("1 2 3")
    assert "expected 51 finite numbers" in bad(root)["train", "loads"]


def test_missing_labels_are_counted_and_pass(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A foot is NaN in every other row, a wrist is not `visible`, and one row has the root alone: 33 of 204."""
    change(root, "pose3d", lambda poses: poses.__setitem__((slice(0, None, 2), 3), np.nan))
    change(root, "pose3d", lambda poses: poses.__setitem__((5, slice(1, None)), np.nan))
    change(root, "pose2d", lambda joints: joints.__setitem__((slice(None), 16), 0))
    with h5py.File(root / "annot/train.h5", "r+") as file:
        visible = np.ones((12, 17), np.uint8)
        visible[:, 16] = 0
        file["visible"] = visible
    report = check(root)
    assert not report.offenders
    found = {finding.check: finding for finding in report.findings if finding.split == "train"}
    assert found["labelled"].result == "83.8% of the joints in mm; 1 of 12 images without any"
    assert found["labelled"].rows == ["row 5: S1_Walking_1.54138969_000006.jpg"]
    assert found["loads"].result == "12 as train data"


@pytest.mark.parametrize("key", ["pose2d", "pose3d"])
def test_labels_written_as_zeros_are_offenders(root: Path, key: str) -> None:
    change(root, key, lambda joints: joints.__setitem__((slice(0, 3), 12), 0))
    found = bad(root)["train", "no zeros for labels"]
    assert found.startswith("3 joints at 0 on every axis")
    assert f"LElbow is exactly 0 on every axis of '{key}' in row 0" in found
