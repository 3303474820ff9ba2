"""Videos in and out."""

from __future__ import annotations

import re
import sys
from fractions import Fraction

import numpy as np
import pytest

from integral_pose.datasets.recording import read_frames
from integral_pose.errors import DataError
from integral_pose.predict.videos import OverlayVideo, VideoFile

av = pytest.importorskip("av", reason="the package av of the extra `prepare` is not installed")


def write_video(path, pictures, rotation=0):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def halves(brightness=255):
    """(32, 64, 3): the left half bright."""
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :32] = brightness
    return picture


def test_frames_in_order(tmp_path):
    video = VideoFile(write_video(tmp_path / "a.mp4", [halves(brightness) for brightness in (60, 120, 180)]))
    found = [frame.picture for frame in video.frames()]
    assert (video.rate, video.claimed_frames) == (10, 3)
    assert [round(int(picture[:, :24].mean()), -1) for picture in found] == [60, 120, 180]


def test_the_rotation_in_the_metadata_is_undone(tmp_path):
    # Counter-clockwise by 90 degrees: what is left comes to lie at the bottom.
    path = write_video(tmp_path / "a.mp4", [halves()] * 2, rotation=90)
    content = path.read_bytes()
    matrix = content[content.index(b"tkhd") + 44 :][:20]  # ISO/IEC 14496-12: x' = c y, y' = b x with b = -1, c = 1
    assert np.frombuffer(matrix, ">i4").tolist() == [0, -65536, 0, 65536, 0]
    picture = next(iter(VideoFile(path).frames())).picture
    assert picture.shape == (64, 32, 3)
    assert picture[40:].mean() > 240
    assert picture[:24].mean() < 15


def test_a_video_is_written_whole_or_not_at_all(tmp_path):
    out = tmp_path / "sub/o.mp4"
    with OverlayVideo.writing(out, Fraction(10)) as video:
        for brightness in (50, 100, 150):
            video.add(np.full((33, 65, 3), brightness, np.uint8))  # an odd row and column are left out
    found = [frame.picture for frame in VideoFile(out).frames()]
    assert [picture.shape for picture in found] == [(32, 64, 3)] * 3
    assert [round(int(picture.mean()), -1) for picture in found] == [50, 100, 150]
    with pytest.raises(ZeroDivisionError), OverlayVideo.writing(tmp_path / "p.mp4", Fraction(10)) as video:
        video.add(1 // 0)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "sub"]


def test_what_is_no_video(tmp_path):
    with pytest.raises(DataError, match="none.mp4: there is no such video"):
        VideoFile(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("empty", "text"):
        with pytest.raises(DataError, match=f"{name}.mp4: cannot be read as a video"):
            VideoFile(tmp_path / f"{name}.mp4")


def test_a_playlist_cannot_name_other_files(tmp_path):
    write_video(tmp_path / "other.mp4", [halves()] * 3)
    path = tmp_path / "list.mp4"
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with av.open(str(path)) as container:
        assert container.streams.video  # FFmpeg alone follows it
    with pytest.raises(DataError, match="list.mp4: cannot be read as a video"):
        VideoFile(path)


def test_a_video_that_was_cut_short(tmp_path):
    rng = np.random.default_rng(0)
    path = write_video(tmp_path / "a.avi", [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(20)])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    video = VideoFile(path)
    count = len(list(video.frames()))
    assert 0 < count < 20  # an .avi is readable as far as it goes
    assert re.search(rf"a.avi: (ends after|is damaged at frame) {count} of 20", video.fault)
    cut = write_video(tmp_path / "b.mp4", [halves()] * 9)
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(DataError, match="b.mp4: (cannot be read as a video|holds no frame|is damaged)"):
        list(VideoFile(cut).frames())


def noise_video(path, codec="mpeg4", number=30):
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(number):
            picture = rng.integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_hole_keeps_what_came_before_and_no_frame_is_painted_over(name, tmp_path):
    path = noise_video(tmp_path / name)
    whole = [frame.picture for frame in VideoFile(path).frames()]
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 1500] = bytes(1500)
    path.write_bytes(content)
    video = VideoFile(path)
    found = [frame.picture for frame in video.frames()]
    assert 5 < len(found) < 20
    np.testing.assert_array_equal(found, whole[: len(found)])
    assert f"{name}: is damaged at frame {len(found)}" in video.fault
    rows = []
    with pytest.raises(DataError, match=f"{name}: is damaged before frame {len(found)}"):
        rows += [row for row, _ in read_frames(path, range(30))]
    assert not rows or len(rows) <= len(found)


def test_a_matroska_file_that_was_cut_short_between_frames(tmp_path):
    """It has no count of frames, but a tag says how long it is."""
    path = noise_video(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = VideoFile(path)
    count = len(list(video.frames()))
    assert 5 < count < 20
    assert f"a.mkv: ends after {count} frames, {3 - count / 10:.2f} s before the end" in video.fault


@pytest.mark.parametrize(("name", "length"), [("a.ts", 188), ("a.m2ts", 192)])
def test_a_transport_stream_tells_what_it_can(name, length, tmp_path):
    """It has no header that says how long it is."""
    path = noise_video(tmp_path / name, "mpeg2video")
    content = path.read_bytes()
    packets = [content[at : at + length] for at in range(0, len(content), length)]
    at_sync = length - 188
    pids = [(packet[at_sync + 1] & 31) << 8 | packet[at_sync + 2] for packet in packets]
    video = VideoFile(path)
    whole = [frame.picture for frame in video.frames()]
    assert (len(whole), video.fault) == (30, "")
    table = pids.index(0, len(pids) // 2)
    lost = pids.index(max(pids, key=pids.count), len(pids) // 2)  # of the pictures
    for kept, told in (
        (b"".join(packets[:table]) + packets[table][:100], "frames, but it ends within a packet: it was cut"),
        (b"".join(packets[: table + 1]), "frames, but it ends with a table of what follows: it was cut"),
        (b"".join(packets[:lost] + packets[lost + 1 :]), "(packets are cut or missing from here on)"),
    ):
        path.write_bytes(kept)
        found = [frame.picture for frame in video.frames()]
        assert 5 < len(found) < 30
        np.testing.assert_array_equal(found, whole[: len(found)])
        assert told in video.fault
        video.fault = ""


def test_times_of_a_variable_rate_and_true_shapes(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.sample_aspect_ratio = Fraction(3, 2)
        for number in (0, 1, 5, 6):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video = VideoFile(tmp_path / "a.mp4")
    found = list(video.frames())
    assert [frame.time_s for frame in found] == pytest.approx([0, 0.1, 0.5, 0.6])
    assert {frame.picture.shape for frame in found} == {(48, 96, 3)}
    assert not video.fault


def test_without_the_package_for_videos(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        DataError, match=r"needs the package av; install it with: pip install 'integral-pose\[prepare\]'"
    ):
        VideoFile(tmp_path / "a.mp4")
