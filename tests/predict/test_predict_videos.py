"""Videos in and out."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest

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
    found = list(video.frames())
    assert (video.rate, video.claimed_frames) == (10, 3)
    assert [round(int(picture[:, :24].mean()), -1) for picture in found] == [60, 120, 180]


def test_the_rotation_in_the_metadata_is_undone(tmp_path):
    # Counter-clockwise by 90 degrees: what is left comes to lie at the bottom.
    path = write_video(tmp_path / "a.mp4", [halves()] * 2, rotation=90)
    content = path.read_bytes()
    matrix = content[content.index(b"tkhd") + 44 :][:20]  # ISO/IEC 14496-12: x' = c y, y' = b x with b = -1, c = 1
    assert np.frombuffer(matrix, ">i4").tolist() == [0, -65536, 0, 65536, 0]
    picture = next(iter(VideoFile(path).frames()))
    assert picture.shape == (64, 32, 3)
    assert picture[40:].mean() > 240
    assert picture[:24].mean() < 15


def test_a_video_is_written_whole_or_not_at_all(tmp_path):
    out = tmp_path / "sub/o.mp4"
    with OverlayVideo.writing(out, Fraction(10)) as video:
        for brightness in (50, 100, 150):
            video.add(np.full((33, 65, 3), brightness, np.uint8))  # an odd row and column are left out
    found = list(VideoFile(out).frames())
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
    assert 0 < len(list(VideoFile(path).frames())) < 20  # an .avi is readable as far as it goes
    cut = write_video(tmp_path / "b.mp4", [halves()] * 9)
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(DataError, match="b.mp4: (cannot be read as a video|holds no frame|is damaged)"):
        list(VideoFile(cut).frames())


def test_without_the_package_for_videos(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        DataError, match=r"needs the package av; install it with: pip install 'integral-pose\[prepare\]'"
    ):
        VideoFile(tmp_path / "a.mp4")
