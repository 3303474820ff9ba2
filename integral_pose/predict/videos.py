"""Videos as pictures, and pictures as a video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from integral_pose.errors import DataError
from integral_pose.io.atomic import atomic_write
from integral_pose.io.images import Picture, require_sensible_size
from integral_pose.io.readers import optional

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts")
# Of FFmpeg's demuxers those that read one file: a playlist could name others, and addresses.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegts"
ENCODERS = ("libx264", "mpeg4")
USUAL_RATE = Fraction(25)


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
            require_sensible_size(stream.codec_context.width, stream.codec_context.height, str(path))

    def frames(self) -> Iterator[Picture]:
        """(H, W, 3) RGB each, turned as the metadata say. Raises DataError where the file is damaged."""
        number = 0
        with self._open() as container:
            try:
                for frame in container.decode(container.streams.video[0]):
                    require_sensible_size(frame.width, frame.height, f"{self.path}, frame {number}")
                    yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
                    number += 1
            except (self._av.FFmpegError, OSError) as error:
                raise DataError(f"{self.path}: is damaged at frame {number} ({error})") from None
        if not number:
            raise DataError(f"{self.path}: holds no frame that can be decoded; it may be cut short")

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
