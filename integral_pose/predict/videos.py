"""Videos as pictures, and pictures as a video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from integral_pose.errors import DataError
from integral_pose.io.atomic import atomic_write
from integral_pose.io.images import Picture, require_sensible_size
from integral_pose.io.readers import optional
from integral_pose.io.strict_video import cut_transport_stream, seconds_missing, strict_frames

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts")
# Of FFmpeg's demuxers those that read one file: a playlist could name others, and addresses.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegts"
ENCODERS = ("libx264", "mpeg4")
USUAL_RATE = Fraction(25)


class VideoFrame(NamedTuple):
    """A frame as it is shown, (H, W, 3) RGB, and its time from the first, where the file says it."""

    picture: Picture
    time_s: float | None


class VideoFile:
    """A video file: its rate in frames a second, how many its header claims, and its frames from the first on."""

    def __init__(self, path: Path) -> None:
        """Raises DataError where it is missing or cannot be read, or the package for videos is missing."""
        self.path, self._av = path, optional("av")
        if not path.is_file():
            raise DataError(f"{path}: there is no such video")
        with self._open() as container:
            stream = container.streams.video[0]
            self.rate = Fraction(stream.average_rate or USUAL_RATE).limit_denominator(1001)
            self.claimed_frames: int | None = stream.frames or None
            self.fault = ""  # why `frames` ended before the video's end
            require_sensible_size(stream.codec_context.width, stream.codec_context.height, str(path))

    def frames(self) -> Iterator[VideoFrame]:
        """The frames up to the first damage, if any, which `fault` then tells. Raises DataError where there is none."""
        number, first_s, last = 0, 0.0, None
        with self._open() as container:
            stream = container.streams.video[0]
            try:
                for frame in strict_frames(stream):
                    last = frame
                    width_px = round(frame.width * (stream.sample_aspect_ratio or 1))
                    require_sensible_size(width_px, frame.height, f"{self.path}, frame {number}")
                    first_s = frame.time or 0.0 if number == 0 else first_s
                    yield VideoFrame(_upright(frame, width_px), None if frame.time is None else frame.time - first_s)
                    number += 1
            except (self._av.FFmpegError, OSError) as error:
                self.fault = f"{self.path}: is damaged at frame {number}{self._of_claimed} ({error})"
            if number and not self.fault and (missing := self._missing(stream, last, first_s)):
                self.fault = f"{self.path}: ends after {number}{self._of_claimed} frames{missing}"
        if not number:
            raise DataError(self.fault or f"{self.path}: holds no frame that can be decoded; it may be cut short")

    def _missing(self, stream: Any, last: Any, first_s: float) -> str:
        """What the file tells of frames behind the `last` one; empty where it tells none."""
        if missing_s := seconds_missing(stream, last, first_s):
            return f", {missing_s:.2f} s before the end that its header says; it was cut short"
        if stream.container.format.name == "mpegts" and (sign := cut_transport_stream(self.path)):
            return f", but {sign}: it was cut short, and does not say how much is missing"
        return ""

    @property
    def _of_claimed(self) -> str:
        return f" of {self.claimed_frames}" if self.claimed_frames else ""

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            container = self._av.open(str(self.path), options={"format_whitelist": CONTAINERS})
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise DataError(f"{self.path}: cannot be read as a video ({error})") from None
        with container:
            if not container.streams.video:
                raise DataError(f"{self.path}: holds no video, only other streams")
            yield container


def _upright(frame: Any, width_px: int) -> Picture:
    """(H, W, 3) RGB, turned as the metadata say. The width, of before that, is what makes its pixels square."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24", width=width_px), frame.rotation // 90))


class OverlayVideo:
    """An .mp4 that grows by a frame a call; it takes its place at `path` when `writing` ends."""

    def __init__(self, container: Any, rate: Fraction) -> None:
        self._container, self._rate, self._av = container, rate, optional("av")
        self._stream: Any = None  # from the first picture on, which gives the size

    def add(self, picture: Picture) -> None:
        """One more frame (H, W, 3) RGB; all are shown in the size of the first, which is made even."""
        if self._stream is None:
            encoder = next(name for name in ENCODERS if name in self._av.codecs_available)
            self._stream = self._container.add_stream(encoder, rate=self._rate)
            # The encoders halve the colours' resolution, so an odd last row or column is left out.
            self._stream.width, self._stream.height = picture.shape[1] // 2 * 2, picture.shape[0] // 2 * 2
            self._stream.pix_fmt = "yuv420p"
        even = np.zeros((self._stream.height, self._stream.width, 3), np.uint8)
        shown = picture[: even.shape[0], : even.shape[1]]
        even[: shown.shape[0], : shown.shape[1]] = shown
        self._container.mux(self._stream.encode(self._av.VideoFrame.from_ndarray(even, format="rgb24")))

    @classmethod
    @contextmanager
    def writing(cls, path: Path, rate: Fraction) -> Iterator[OverlayVideo]:
        """A video that is there whole or not at all."""
        with atomic_write(path) as file, optional("av").open(file, "w", format="mp4") as container:
            video = cls(container, rate)
            yield video
            if video._stream is not None:
                container.mux(video._stream.encode())
