"""Human3.6M's official download, made up in its own formats: CDF, mp4, metadata.xml, tgz."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from integral_pose.datasets.conversion import Request
from integral_pose.datasets.human36m import JOINTS, convert_human36m, read_poses
from integral_pose.datasets.human36m_files import look_through
from integral_pose.datasets.human36m_metadata import read_cameras
from integral_pose.datasets.human36m_table import Choice, Sequence36M, describe_plan, list_videos, sequences
from integral_pose.errors import ConfigError, DataError
from integral_pose.geometry.camera import CAMERA_IDS, human36m_camera
from tests.geometry.test_sides import standing

cdfwrite = pytest.importorskip("cdflib.cdfwrite", reason="needs the extra 'prepare'")
av = pytest.importorskip("av", reason="needs the extra 'prepare'")

TABLE = (
    Sequence36M("S1", 2, 1, "Directions 1", 12, (13, 13, 13, 13)),
    Sequence36M("S9", 5, 2, "Greeting", 6, (9, 9, 9, 9)),
    Sequence36M("S11", 2, 2, "Directions", 6, (7, 7, 7, 7)),
)
EVERYTHING = Choice(test_every=5)


def level(row: int) -> int:
    """Brightness of a made-up frame, by which it is known again."""
    return 60 + 10 * row


def poses_of(sequence: Sequence36M) -> NDArray[np.float64]:
    """(n, 32, 3) world mm: somebody who turns on the spot and drifts along."""
    turning = standing(sequence.pose_frames)[..., [0, 2, 1]] * [1, 1, -1] + [0, 0, 900]  # y down -> z up
    turning[..., 0] += 40 * np.arange(sequence.pose_frames)[:, None]
    stored = np.zeros((sequence.pose_frames, 32, 3))
    stored[:, JOINTS] = turning
    return stored


def write_cdf(path: Path, poses: NDArray[np.float64], name: str = "Pose") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = poses.reshape(1, len(poses), -1).astype(np.float32)
    file = cdfwrite.CDF(path, delete=True)
    description = {"Variable": name, "Data_Type": 44, "Num_Elements": 1, "Rec_Vary": True,
                   "Dim_Sizes": list(rows.shape[1:])}  # fmt: skip
    file.write_var(description, var_data=rows)
    file.close()


def write_video(path: Path, dots_px: NDArray[np.float64], num_frames: int, size: tuple[int, int]) -> None:
    """Grey frames of a brightness each, with a white dot at the given place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=50, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for row in range(num_frames):
            picture = np.full((height, width, 3), level(row), np.uint8)
            x, y = dots_px[min(row, len(dots_px) - 1)].round().astype(int)
            picture[y - 8 : y + 8, x - 8 : x + 8] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official layout, unpacked."""
    root = tmp_path_factory.mktemp("h36m") / "Übung"
    for sequence in TABLE:
        for at, camera_id in enumerate(CAMERA_IDS):
            camera = human36m_camera(sequence.subject, camera_id)
            camera_mm = camera.world_to_camera(poses_of(sequence))
            image_px = camera.camera_to_image_px(camera_mm)
            folder, name = root / sequence.subject, f"{sequence.base}.{camera_id}"
            write_cdf(folder / f"MyPoseFeatures/D3_Positions_mono/{name}.cdf", camera_mm)
            write_cdf(folder / f"MyPoseFeatures/D2_Positions/{name}.cdf", image_px)
            size = (camera.width_px, camera.height_px)
            write_video(folder / f"Videos/{name}.mp4", image_px[:, 15], sequence.video_frames[at], size)
            (folder / f"Videos/_ALL 1.{camera_id}.mp4").write_bytes(b"to be skipped")
    return root


def run(
    source: Path, out: Path, choice: Choice = EVERYTHING, table: tuple[Sequence36M, ...] = TABLE, **options: object
):
    request = Request(out, "h36m", show_progress=False, **options)  # type: ignore[arg-type]
    return convert_human36m(source, request, choice, table)


def copy_of(official: Path, target: Path, subjects: tuple[str, ...] = ("S1",)) -> Path:
    for subject in subjects:
        shutil.copytree(official / subject, target / subject)
    return target


S1_ONLY = Choice(("S1",))


def test_plan_totals() -> None:
    assert len(sequences()) == 210
    plan = describe_plan(Choice())
    assert "312,188 training images\n10,987 test images: every 10th entry of 109,867 test images" in plan
    assert describe_plan(Choice(test_every=64)).endswith("8,695 test images")
    assert describe_plan(Choice(test_every=5)).endswith("109,867 test images")
    for subject, images in {"S1": "49,732", "S5": "79,312", "S6": "50,012", "S7": "81,348", "S8": "51,784"}.items():
        assert f"{subject}        train     120    {images}" in plan
    assert describe_plan(Choice(test_every=64, corrupt_video="keep")).endswith("8,724 test images")
    drifted = [v for v in list_videos(Choice(drifted="exclude")) if v.sequence.is_drifted]
    assert not drifted
    with pytest.raises(ConfigError, match="S2; subjects with public poses are S1, S5"):
        list_videos(Choice(("S1", "S2")))


def test_every_tenth_entry_runs_on_over_the_videos() -> None:
    whole = [(v.sequence, v.camera_id, row) for v in list_videos(Choice(test_every=5)) for row in v.rows
             if v.split == "valid"]  # fmt: skip
    tenth = [(v.sequence, v.camera_id, row) for v in list_videos(Choice()) for row in v.rows if v.split == "valid"]
    assert tenth == whole[::10]


def test_frame_for_frame(official: Path, tmp_path: Path) -> None:
    summary = run(official, tmp_path / "out", workers=2)
    # Frames 1, 6, 11 of S1; 1 and 6 of S9 and S11, of which one video is known to be corrupt.
    assert (summary.num_train, summary.num_valid) == (3 * 4, 2 * 4 + 2 * 3)
    for split in ("train", "valid"):
        names = (tmp_path / f"out/annot/{split}_images.txt").read_text().split()
        with h5py.File(tmp_path / f"out/annot/{split}.h5") as file:
            labels = {name: column[:] for name, column in file.items()}
        for i, name in enumerate(names):
            frame = int(labels["frame"][i])
            picture = np.asarray(Image.open(tmp_path / "out/images" / name).convert("L")).astype(np.float64)
            ground = np.median(picture[picture > 40])  # black lies outside of the picture
            assert ground == pytest.approx(level(frame - 1), abs=3), name
            y, x = np.nonzero(picture > 235)
            dot_px = np.array([x.mean(), y.mean()]) + 0.5
            np.testing.assert_allclose(dot_px, labels["pose2d"][i, 10], atol=1.0)
    assert names[0] == "S9_Greeting.54138969_000001.jpg"
    assert "S11_Directions.54138969" not in "".join(names)
    assert (labels["action"][0], labels["sub_action"][0], labels["frame"][1]) == (b"Greeting", 2, 6)


def test_labels_are_those_of_the_archives(official: Path, tmp_path: Path) -> None:
    run(official, tmp_path / "out", S1_ONLY)
    with h5py.File(tmp_path / "out/annot/train.h5") as file:
        absolute_mm = file["pose3d"][:] + file["root_camera_mm"][:][:, None]
    world_mm = human36m_camera("S1", "54138969").camera_to_world(absolute_mm[:3].astype(np.float64))
    np.testing.assert_allclose(world_mm, poses_of(TABLE[0])[::5][:, JOINTS], atol=0.01)


def test_all_ways_to_lay_out_the_download_give_the_same_set(official: Path, tmp_path: Path) -> None:
    run(official, tmp_path / "out", S1_ONLY)
    fetched = tmp_path / "fetched"  # as h36m-fetch unpacks
    for kind, folder in (("Poses_D2_Positions", "MyPoseFeatures/D2_Positions"), ("Videos", "Videos"),
                         ("Poses_D3_Positions_mono", "MyPoseFeatures/D3_Positions_mono")):  # fmt: skip
        shutil.copytree(official / "S1" / folder, fetched / "S1" / kind)
    archives = tmp_path / "archives"
    (archives / "s1").mkdir(parents=True)
    for path, folder in (("Poses_D2_Positions_S1.tgz", "MyPoseFeatures/D2_Positions"), ("s1/Videos.tgz", "Videos"),
                         ("s1/D3_Positions_mono.tgz", "MyPoseFeatures/D3_Positions_mono")):  # fmt: skip
        with tarfile.open(archives / path, "w:gz") as archive:
            archive.add(official / "S1" / folder, arcname=f"S1/{folder}")
    for source in (fetched, archives):
        run(source, tmp_path / f"{source.name}_out", S1_ONLY)
        for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "prepared.json"):
            assert (
                path.read_bytes() == (tmp_path / f"{source.name}_out" / path.relative_to(tmp_path / "out")).read_bytes()
            )
    assert not list(tmp_path.glob(".*"))  # what was unpacked is gone


def test_names_as_browsers_and_other_programs_change_them(tmp_path: Path) -> None:
    for name in ("Videos_S1 (1).tgz", "Poses_D3_Positions_mono_S1(2).tgz", "S5/Videos/Directions_1.54138969.mp4",
                 "S5/D3_Positions_mono/SittingDown.54138969.cdf", "S5/Videos/_ALL_1.54138969.mp4"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = look_through(tmp_path)
    assert set(found.archives) == {("S1", "Videos"), ("S1", "D3_Positions_mono")}
    assert sorted(item.file_name for item in found.files) == ["Directions 1.54138969.mp4", "SittingDown.54138969.cdf"]


def test_what_h36m_fetch_makes_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "S1" / "Directions-1"
    (folder / "imageSequence").mkdir(parents=True)
    (folder / "annot.h5").touch()
    with pytest.raises(DataError, match="is what h36m-fetch makes of the download .* is not read; give the folder"):
        look_through(tmp_path).archives_for(["S1"])


def test_archives_cannot_write_elsewhere(official: Path, tmp_path: Path) -> None:
    source = copy_of(official, tmp_path / "source")
    shutil.rmtree(source / "S1/Videos")
    with tarfile.open(source / "Videos_S1.tgz", "w:gz") as archive:
        for path in sorted((official / "S1/Videos").iterdir()):
            archive.add(path, arcname=f"../../S1/Videos/{path.name}")
        link = tarfile.TarInfo("S1/Videos/Directions 1.54138969.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    before = set(tmp_path.rglob("*"))
    run(source, tmp_path / "out", S1_ONLY)
    new = {path.relative_to(tmp_path).parts[0] for path in set(tmp_path.rglob("*")) - before}
    assert new == {"out"}


def test_a_truncated_archive_is_named_and_the_rest_is_kept(official: Path, tmp_path: Path) -> None:
    source = copy_of(official, tmp_path / "source")
    shutil.rmtree(source / "S1/Videos")
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        archive.add(official / "S1/Videos", arcname="S1/Videos")
    (source / "Videos_S1.tgz").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    with pytest.raises(DataError, match=r"Videos_S1.tgz: is cut short or damaged"):
        run(source, tmp_path / "out", S1_ONLY)
    assert not (tmp_path / "out").exists()
    (source / "Videos_S1.tgz").write_text("\n<!DOCTYPE html><title>Login</title>")
    with pytest.raises(DataError, match=r"Videos_S1.tgz: is a web page, as comes where nobody is logged in; fetch it"):
        run(source, tmp_path / "out", S1_ONLY)
    (source / "Videos_S1.tgz").write_bytes(whole.getvalue())
    assert run(source, tmp_path / "out", S1_ONLY).num_train == 12


def test_damaged_and_missing_files_are_named(official: Path, tmp_path: Path) -> None:
    source = copy_of(official, tmp_path / "source")
    poses = source / "S1/MyPoseFeatures/D3_Positions_mono/Directions 1.55011271.cdf"
    whole = poses.read_bytes()
    poses.write_bytes(whole[:200])
    with pytest.raises(DataError, match=r"Directions 1.55011271.cdf: is damaged or no CDF"):
        run(source, tmp_path / "out", S1_ONLY)
    write_cdf(poses, np.zeros((12, 32, 3)), name="Positions")
    with pytest.raises(DataError, match=r"55011271.cdf: has no variable 'Pose'; it has: Positions"):
        run(source, tmp_path / "out", S1_ONLY)
    write_cdf(poses, np.zeros((12, 30, 3)))
    with pytest.raises(DataError, match=r"shape \(1, 12, 90\), expected .*\(1, n, 96\)"):
        run(source, tmp_path / "out", S1_ONLY)
    poses.write_bytes(whole)
    video = source / "S1/Videos/Directions 1.60457274.mp4"
    content = video.read_bytes()
    video.write_bytes(content[:1000])
    with pytest.raises(DataError, match=r"60457274.mp4: cannot be opened"):
        run(source, tmp_path / "out", S1_ONLY)
    video.unlink()
    with pytest.raises(DataError, match=r"Directions 1.60457274.mp4 of S1, Videos, is missing"):
        run(source, tmp_path / "out", S1_ONLY)
    shutil.rmtree(source / "S1/Videos")
    with pytest.raises(DataError, match=r"no Videos of S1: neither Videos_S1.tgz nor .mp4"):
        run(source, tmp_path / "out", S1_ONLY)


def test_2d_of_another_recording_is_refused(official: Path, tmp_path: Path) -> None:
    source = copy_of(official, tmp_path / "source")
    folder = source / "S1/MyPoseFeatures/D2_Positions"
    (folder / "Directions 1.54138969.cdf").write_bytes((folder / "Directions 1.55011271.cdf").read_bytes())
    with pytest.raises(DataError, match=r"D2_Positions.*misses the projected 3D .* by up to"):
        run(source, tmp_path / "out", S1_ONLY)
    shutil.rmtree(folder)  # the cameras give the same numbers
    assert run(source, tmp_path / "other", S1_ONLY).num_train == 12


def test_a_video_shorter_than_its_poses_stops_there_and_says_so(official: Path, tmp_path: Path) -> None:
    source = copy_of(official, tmp_path / "source")
    write_video(source / "S1/Videos/Directions 1.54138969.mp4", np.full((1, 2), 500.0), 8, (1000, 1002))
    summary = run(source, tmp_path / "out", S1_ONLY)
    assert summary.num_train == 11
    assert any("54138969.mp4: ends before its poses; stopped there, 1 of 3" in note for note in summary.notes)


def test_poses_fewer_than_the_table_knows_stop_there_and_say_so(official: Path, tmp_path: Path) -> None:
    longer = (TABLE[0]._replace(pose_frames=20), *TABLE[1:])
    summary = run(official, tmp_path / "out", S1_ONLY, longer)
    assert summary.num_train == 12
    assert any("has 12 poses, 20 are known; stopped at the shorter" in note for note in summary.notes)


@pytest.mark.parametrize(("drifted", "count", "shift_mm"), [("keep", 8, 0), ("exclude", 0, 0), ("correct", 8, -200)])
def test_drifted_sequences(official: Path, tmp_path: Path, drifted: str, count: int, shift_mm: float) -> None:
    choice = Choice(("S1", "S9"), test_every=5, drifted=drifted)
    summary = run(official, tmp_path / "out", choice)
    assert summary.num_valid == count
    assert any("displaced" in note for note in summary.notes) == (drifted != "exclude")
    if count:
        with h5py.File(tmp_path / "out/annot/valid.h5") as file:
            roots_mm = file["root_camera_mm"][:2]
        world_mm = human36m_camera("S9", "54138969").camera_to_world(roots_mm)
        np.testing.assert_allclose(world_mm, poses_of(TABLE[1])[::5, 0] + [shift_mm, 0, 0], atol=0.01)


def write_metadata(path: Path, replace: tuple[str, str] = ("", "")) -> None:
    """metadata.xml with the packaged cameras of the seven subjects and zeros for the others."""
    numbers = np.zeros(300)
    known = {1, 5, 6, 7, 8, 9, 11}
    for at, camera_id in enumerate(CAMERA_IDS):
        for subject in known:
            camera = human36m_camera(f"S{subject}", camera_id)
            r = camera.rotation
            angles = [np.arctan2(-r[1, 2], r[2, 2]), np.arcsin(r[0, 2]), np.arctan2(-r[0, 1], r[0, 0])]
            numbers[6 * (11 * at + subject - 1) :][:6] = [*angles, *camera.center_world_mm]
        numbers[264 + 9 * at :][:9] = [*camera.focal_px, *camera.principal_px, *camera.radial, *camera.tangential]
    sizes = []
    for subject in range(1, 12):
        cameras = [human36m_camera(f"S{subject if subject in known else 1}", camera_id) for camera_id in CAMERA_IDS]
        sizes.append("[" + ";".join(f"{camera.height_px} {camera.width_px}" for camera in cameras) + "]")
    empty = "<tr>" + "<td></td>" * 13 + "</tr>"
    size_row = "<tr><td></td><td></td>" + "".join(f"<td>{size}</td>" for size in sizes) + "</tr>"
    w0 = "[" + " ".join(repr(float(number)) for number in numbers) + "]"
    text = f"<a><mapping>{empty * 34}{size_row}</mapping><w0>{w0}</w0></a>"
    path.write_text(text.replace(*replace) if replace[0] else text)


def test_metadata_gives_the_packaged_cameras(tmp_path: Path) -> None:
    write_metadata(tmp_path / "metadata.xml")
    cameras = read_cameras(tmp_path / "metadata.xml")
    assert len(cameras) == 44
    for subject in ("S1", "S5", "S6", "S7", "S8", "S9", "S11"):
        for camera_id in CAMERA_IDS:
            read, packaged = cameras[subject, camera_id], human36m_camera(subject, camera_id)
            for field in ("rotation", "center_world_mm", "focal_px", "principal_px", "radial", "tangential"):
                np.testing.assert_allclose(getattr(read, field), getattr(packaged, field), atol=1e-9)
            assert (read.width_px, read.height_px) == (packaged.width_px, packaged.height_px)


def test_metadata_beside_the_archives_is_used_and_a_damaged_one_is_named(official: Path, tmp_path: Path) -> None:
    source = copy_of(official, tmp_path / "source")
    (source / "Release-v1.2").mkdir()
    write_metadata(source / "Release-v1.2/metadata.xml")
    run(source, tmp_path / "out", S1_ONLY)
    with h5py.File(tmp_path / "out/annot/train.h5") as file:
        assert file["camera"][0, :2] == pytest.approx(human36m_camera("S1", "54138969").focal_px)
    write_metadata(source / "Release-v1.2/metadata.xml", replace=("1145.04940458804", "2000.0"))
    with pytest.raises(DataError, match="misses the projected 3D"):  # so the file is what the cameras come from
        run(source, tmp_path / "other", S1_ONLY)
    write_metadata(source / "Release-v1.2/metadata.xml", replace=("</w0>", ""))
    with pytest.raises(DataError, match=r"metadata.xml: is not Human3.6M's"):
        run(source, tmp_path / "third", S1_ONLY)


def test_poses_are_read_in_the_official_order(tmp_path: Path) -> None:
    stored = np.arange(2 * 32 * 3, dtype=np.float64).reshape(2, 32, 3)
    write_cdf(tmp_path / "Walking.54138969.cdf", stored)
    np.testing.assert_array_equal(read_poses(tmp_path / "Walking.54138969.cdf", 3), stored[:, JOINTS])
