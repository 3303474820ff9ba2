"""What all converters share: where a picture's point lands, resuming, layouts, faults of the disk."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from integral_pose.datasets import conversion
from integral_pose.datasets.conversion import Request, convert
from integral_pose.datasets.recording import LabelledFrame, Recording
from integral_pose.datasets.writer import JpegFiles, write_split
from integral_pose.errors import ConfigError, DataError
from integral_pose.geometry.camera import human36m_camera
from integral_pose.geometry.crop import Crop, crop_metric, crop_posenet, crop_tight
from integral_pose.io.resampling import resample

CAMERA = human36m_camera("S1", "54138969")


def dot(x_px: float, y_px: float, width: int = 1000, height: int = 1002) -> NDArray[np.uint8]:
    """A soft bright dot whose centre of mass is at the given point, pixel i spanning [i, i + 1]."""
    y, x = np.mgrid[:height, :width] + 0.5
    glow = np.exp(-((x - x_px) ** 2 + (y - y_px) ** 2) / (2 * 4.0**2))
    return np.repeat((255 * glow).round().astype(np.uint8)[..., None], 3, axis=-1)


def center_of_mass(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    weight = picture[..., 0].astype(np.float64)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("side_px", [131.3, 256.0, 376.2, 901.7])
@pytest.mark.parametrize("corner_px", [(312.4, 287.9), (-60.3, 250.0), (600.1, 655.5)])
def test_a_bright_dot_lands_on_its_crop_px(side_px: float, corner_px: tuple[float, float]) -> None:
    crop = Crop(*corner_px, side_px / 256, 256)
    # Somewhere inside both the crop and the picture, off the middle so that a wrong scale would show.
    point_px = np.clip(np.array(corner_px) + side_px * np.array([0.3, 0.6]), 40, 960)
    found_px = center_of_mass(resample(dot(*point_px), crop))
    np.testing.assert_allclose(found_px, crop.image_px_to_crop_px(point_px), atol=0.1)


def test_shrinking_averages_instead_of_picking() -> None:
    chequers = np.repeat(((np.indices((1024, 1024)).sum(0) % 2) * 255).astype(np.uint8)[..., None], 3, axis=-1)
    small = resample(chequers, Crop(0, 0, 4.0, 256))[2:-2, 2:-2]
    assert abs(small.astype(int) - 127).max() <= 2


def test_outside_of_the_picture_is_black() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    cut = resample(white, Crop(-50, -50, 1.0, 256))
    assert cut[60:140, 60:140].min() == 255
    assert cut[:48].max() == cut[:, :48].max() == cut[152:].max() == cut[:, 152:].max() == 0
    assert resample(white, Crop(500, 500, 1.0, 256)).max() == 0


def test_tight_and_metric_crops_known_answers() -> None:
    tight = crop_tight(np.array([[100.0, 50.0], [300.0, 130.0]]), 256)
    assert (tight.left_px, tight.top_px, tight.side_px) == (75, -35, 250)
    posenet = crop_posenet(np.array([[100.0, 50.0], [300.0, 130.0]]), 256)
    assert (posenet.left_px, posenet.top_px, posenet.side_px) == (200 - 149.25, 90 - 149.25, 298.5)
    # Integral's box of the first picture of S1: 440.08 x 439.59 px about the root 5.2 m away.
    metric = crop_metric(np.array([473.654, 444.887]), 5203.9, CAMERA.focal_px, 256)
    assert metric.side_px == pytest.approx((440.08 + 439.59) / 2, abs=0.02)
    assert metric.image_px_to_crop_px(np.array([473.654, 444.887])) == pytest.approx([128, 128])


@dataclass(frozen=True)
class GreyRecording:
    """A recording of n grey pictures; `log` is a file that counts how often it was read."""

    name: str
    split: str
    num_images: int
    log: Path
    fails_at: int | None = None

    def frames(self, notes: list[str]) -> Iterator[LabelledFrame]:
        with self.log.open("a") as file:
            file.write(f"{self.name}\n")
        notes.append(f"note of {self.name}")
        for i in range(self.num_images):
            if i == self.fails_at:
                raise DataError(f"{self.name}.mp4: is damaged")
            joints_mm = np.random.default_rng(i).normal((0, 0, 5000), 300, (17, 3))
            picture = np.full((1002, 1000, 3), 10 * i + 20, np.uint8)
            name = f"{self.name}_{i + 1:06d}.jpg"
            joints_px = CAMERA.camera_to_image_px(joints_mm)
            yield LabelledFrame(name, picture, joints_px, joints_mm, CAMERA)


def made(tmp_path: Path, fails_at: int | None = None) -> list[Recording]:
    log = tmp_path / "log"
    return [
        GreyRecording("S1_Walking_1.54138969", "train", 3, log),
        GreyRecording("S5_Walking.54138969", "train", 2, log, fails_at),
        GreyRecording("S9_Walking.54138969", "valid", 2, log),
    ]


def request(tmp_path: Path, **changes: object) -> Request:
    return Request(**({"out": tmp_path / "öut", "source": "made", "show_progress": False} | changes))  # type: ignore[arg-type]


def test_labels_agree_with_each_other(tmp_path: Path) -> None:
    summary = convert(made(tmp_path), request(tmp_path), {})
    assert (summary.num_train, summary.num_valid) == (5, 2)
    assert summary.notes[0] == "note of S1_Walking_1.54138969"
    annot = tmp_path / "öut/annot"
    names = (annot / "train_images.txt").read_text().split()
    assert names[0] == "S1_Walking_1.54138969_000001.jpg"
    assert names[-1] == "S5_Walking.54138969_000002.jpg"
    with h5py.File(annot / "train.h5") as file:
        labels = {name: column[:] for name, column in file.items()}
    assert labels["subject"].tolist() == [b"S1"] * 3 + [b"S5"] * 2
    assert labels["frame"].tolist() == [1, 2, 3, 1, 2]
    for row in range(5):
        left, top, scale = labels["crop_to_image"][row]
        absolute_mm = labels["pose3d"][row] + labels["root_camera_mm"][row]
        image_px = labels["pose2d"][row] * scale + (left, top)
        np.testing.assert_allclose(CAMERA.camera_to_image_px(absolute_mm), image_px, atol=1e-3)
    assert np.loadtxt(annot / "mean.txt").shape == (51,)
    assert not (tmp_path / ".öut.unfinished").exists()


def test_packed_holds_the_bytes_of_the_files(tmp_path: Path) -> None:
    convert(made(tmp_path), request(tmp_path), {})
    convert(made(tmp_path), request(tmp_path, out=tmp_path / "packed", layout="packed"), {})
    assert not any((tmp_path / "packed/images").iterdir())
    for split in ("train", "valid"):
        with h5py.File(tmp_path / f"packed/annot/{split}.h5") as file:
            offsets, content = file["images/offsets"][:], file["images/bytes"]
            assert content.chunks is None  # one stretch of the file
            assert content.id.get_offset() is not None
            for i, name in enumerate((tmp_path / f"packed/annot/{split}_images.txt").read_text().split()):
                jpeg = content[offsets[i] : offsets[i + 1]].tobytes()
                assert jpeg == (tmp_path / "öut/images" / name).read_bytes()
                assert Image.open(io.BytesIO(jpeg)).size == (256, 256)
            assert offsets[-1] == len(content)


def test_what_was_finished_is_not_redone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"S5_Walking.54138969.mp4: is damaged"):
        convert(made(tmp_path, fails_at=1), request(tmp_path), {})
    assert not (tmp_path / "öut").exists()
    convert(made(tmp_path), request(tmp_path), {})
    read = (tmp_path / "log").read_text().split()
    assert read == ["S1_Walking_1.54138969", "S5_Walking.54138969", "S5_Walking.54138969", "S9_Walking.54138969"]
    fresh = tmp_path / "fresh"
    convert(made(tmp_path), request(tmp_path, out=fresh), {})
    for path in fresh.rglob("*.h5"):
        assert path.read_bytes() == (tmp_path / "öut" / path.relative_to(fresh)).read_bytes()


def test_workers_give_the_same_bytes(tmp_path: Path) -> None:
    convert(made(tmp_path), request(tmp_path, out=tmp_path / "one"), {})
    convert(made(tmp_path), request(tmp_path, out=tmp_path / "two", workers=2), {})
    for path in (path for path in (tmp_path / "one").rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_finished_set_is_left_alone_and_other_settings_are_refused(tmp_path: Path) -> None:
    convert(made(tmp_path), request(tmp_path), {"every": 5})
    assert convert(made(tmp_path), request(tmp_path), {"every": 5}).was_complete
    with pytest.raises(DataError, match="exists and is not an empty folder"):
        convert(made(tmp_path), request(tmp_path), {"every": 6})
    shutil.rmtree(tmp_path / "öut")
    with pytest.raises(DataError):
        convert(made(tmp_path, fails_at=0), request(tmp_path), {"every": 5})
    with pytest.raises(DataError, match="unfinished set with other settings .crop: 'c2f' there, 'tight' now"):
        convert(made(tmp_path), request(tmp_path, crop="tight"), {"every": 5})


def test_faults_of_the_disk_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*Not a directory.*kept"):
        convert(made(tmp_path), request(tmp_path, out=tmp_path / "file/out"), {})
    monkeypatch.setattr(conversion, "BYTES_PER_IMAGE", 10**15)
    with pytest.raises(DataError, match="about 7,000,000,000 MB are needed and .* MB are free"):
        convert(made(tmp_path), request(tmp_path), {})
    monkeypatch.undo()

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device", "x.jpg")

    monkeypatch.setattr(conversion, "crop_frame", full)
    with pytest.raises(DataError, match=r"x.jpg: No space left on device. What was finished is kept"):
        convert(made(tmp_path), request(tmp_path), {})


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--crop 'wide' is unknown; known: c2f, tight, posenet, metric"):
        convert(made(tmp_path), request(tmp_path, crop="wide"), {})
    with pytest.raises(DataError, match="twice"):
        convert(
            [*made(tmp_path), GreyRecording("S1_Walking_1.54138969", "train", 1, tmp_path / "log")],
            request(tmp_path),
            {},
        )


@pytest.mark.parametrize("layout", ["files", "packed"])
def test_pictures_that_a_power_cut_left_empty_are_made_again(layout: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is damaged"):
        convert(made(tmp_path, fails_at=1), request(tmp_path, layout=layout), {})
    unfinished = tmp_path / ".öut.unfinished"
    written = {"files": "set/images/S1_Walking_1.54138969_000002.jpg",
               "packed": "recordings/train/S1_Walking_1.54138969.jpegs"}  # fmt: skip
    (unfinished / written[layout]).write_bytes(b"")
    convert(made(tmp_path), request(tmp_path, layout=layout), {})
    assert (tmp_path / "log").read_text().count("S1_") == 2
    convert(made(tmp_path), request(tmp_path, layout=layout, out=tmp_path / "whole"), {})
    for path in (tmp_path / "whole").rglob("*"):
        twin = tmp_path / "öut" / path.relative_to(tmp_path / "whole")
        assert path.is_dir() or path.read_bytes() == twin.read_bytes()


@pytest.mark.parametrize("name", ["images/S1_Walking_1.54138969_000001.jpg", "annot/train.h5", "annot/std.txt"])
def test_a_set_that_lost_a_file_is_not_complete(name: str, tmp_path: Path) -> None:
    convert(made(tmp_path), request(tmp_path), {})
    assert convert(made(tmp_path), request(tmp_path), {}).was_complete
    path = tmp_path / "öut" / name
    path.write_bytes(b"")
    with pytest.raises(DataError, match=rf"{path}: has 0 bytes, [\d,]+ were written; remove .*öut and start"):
        convert(made(tmp_path), request(tmp_path), {})
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        convert(made(tmp_path), request(tmp_path), {})


def test_pictures_are_on_the_disk_before_what_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of the five times that the disk is told to write, what follows is not there yet."""
    seen = []

    def look(unfinished: Path) -> None:
        seen.append((len(list(unfinished.rglob("*.npz"))), (tmp_path / "öut").exists()))

    monkeypatch.setattr(conversion, "sync_file_system", look)
    monkeypatch.setattr(conversion, "sync_folder", lambda _: look(tmp_path / ".öut.unfinished"))
    convert(made(tmp_path), request(tmp_path), {})
    assert seen == [(0, False), (1, False), (2, False), (3, False), (3, True)]  # at the end its pieces are still there


def test_an_end_while_the_set_is_put_together_leaves_nothing_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the list of sizes too, which named itself."""
    sync, calls = conversion.sync_file_system, []

    def end_at_the_last(folder: Path) -> None:
        calls.append(0)
        if len(calls) == 4:
            (folder / "set/annot/.train.h5.0123456789ab.tmp").write_bytes(b"half")
            raise KeyboardInterrupt
        sync(folder)

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "sync_file_system", end_at_the_last)
        with pytest.raises(KeyboardInterrupt):
            convert(made(tmp_path), request(tmp_path), {})
    for _ in range(2):
        summary = convert(made(tmp_path), request(tmp_path), {})
    assert summary.was_complete
    convert(made(tmp_path), request(tmp_path, out=tmp_path / "whole"), {})
    files = [{p.name: p.read_bytes() for p in (tmp_path / out / "annot").iterdir()} for out in ("öut", "whole")]
    assert files[0] == files[1]


def test_a_second_one_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Its attempt begins while the first one reads; afterwards nothing but the set is there."""
    refused = []

    @dataclass(frozen=True)
    class Meanwhile(GreyRecording):
        def frames(self, notes: list[str]) -> Iterator[LabelledFrame]:
            child = os.fork()
            if child == 0:
                try:
                    convert(made(tmp_path), request(tmp_path), {})
                except DataError as error:
                    os._exit(17 if "is just being written by another process" in str(error) else 1)
                os._exit(0)
            refused.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            yield from super().frames(notes)

    first, *others = made(tmp_path)
    convert([Meanwhile(first.name, "train", 3, tmp_path / "log"), *others], request(tmp_path), {})
    assert refused == [17]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "öut"]


def test_packed_images_of_unequal_sizes_lie_where_the_offsets_say(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1" + b"22")
    (tmp_path / "b").write_bytes(b"4444")
    images = JpegFiles([tmp_path / "a", tmp_path / "b"], np.array([1, 2, 4]))
    write_split(tmp_path, "valid", ["x", "y", "z"], {}, images)
    with h5py.File(tmp_path / "valid.h5") as file:
        assert file["images/offsets"][:].tolist() == [0, 1, 3, 7]
        assert file["images/bytes"][:].tobytes() == b"1224444"
