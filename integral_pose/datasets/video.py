"""Frames of a video, decoded once, from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from integral_pose.errors import DataError
from integral_pose.io.images import Picture
from integral_pose.io.readers import optional


def read_frames(path: Path, rows: Sequence[int]) -> Iterator[tuple[int, Picture]]:
    """Pairs (row, (H, W, 3) RGB) of the wanted frames, counted from 0, in rising order.

    Ends early where the video does: the caller compares with what it asked for. Raises DataError naming the file
    if it is missing or damaged.
    """
    av = optional("av")
    wanted = iter(rows)
    next_row = next(wanted, None)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # videos are shared among processes already
            for row, frame in enumerate(container.decode(stream)):
                if next_row is None:
                    return
                if row == next_row:
                    yield row, frame.to_ndarray(format="rgb24")
                    next_row = next(wanted, None)
    except (av.FFmpegError, IndexError, OSError) as error:
        where = "cannot be opened" if next_row == next(iter(rows), None) else f"is damaged before frame {next_row}"
        raise DataError(f"{path}: {where} ({error}); fetch it again") from None
