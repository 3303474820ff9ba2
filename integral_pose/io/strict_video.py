"""Videos as FFmpeg decodes them when it is asked not to paint over what is damaged."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

STRICT = {"err_detect": "explode"}


def strict_frames(stream: Any) -> Iterator[Any]:
    """The frames of a stream of an open container, in order. PyAV's errors pass; the frames before one are right."""
    stream.codec_context.options = STRICT
    stream.codec_context.thread_count = 1  # threads would report damage frames later
    for packet in stream.container.demux(stream):
        yield from packet.decode()


def seconds_missing(stream: Any, last: Any, first_s: float) -> float:
    """How much of its length that the file claims lies behind the `last` frame; 0 where it claims none."""
    claimed_s = _claimed_s(stream)
    if claimed_s is None or last.time is None:
        return 0.0
    shown_s = float((last.duration or 0) * last.time_base) or 1 / float(stream.average_rate or 25)
    missing_s = claimed_s - (last.time - first_s + shown_s)
    return missing_s if missing_s > 1.5 * shown_s else 0.0


def _claimed_s(stream: Any) -> float | None:
    """The length of this stream, not of a longer sound beside it; Matroska writes it as a tag."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    with suppress(ValueError, KeyError):
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    return None
