"""Videos as FFmpeg decodes them when it is asked not to paint over what is damaged."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

STRICT = {"err_detect": "explode"}
# Of packets of an MPEG transport stream: bytes, and where in them the sync byte lies (Blu-ray puts the time before it).
TRANSPORT_PACKETS, SYNC = ((188, 0), (192, 4), (204, 0)), 0x47
TABLE_IDS = (0, 17)  # of the tables of programs and services, which writers put before pictures


def strict_frames(stream: Any) -> Iterator[Any]:
    """The frames of a stream of an open container, in order.

    PyAV's errors pass, and missing packets are an OSError; the frames before one are right.
    """
    stream.codec_context.options = STRICT
    stream.codec_context.thread_count = 1  # threads would report damage frames later
    for packet in stream.container.demux(stream):
        if packet.is_corrupt:
            raise OSError("packets are cut or missing from here on")
        yield from packet.decode()


def seconds_missing(stream: Any, last: Any, first_s: float) -> float:
    """How much of its length that the file claims lies behind the `last` frame; 0 where it claims none."""
    claimed_s = _claimed_s(stream)
    if claimed_s is None or last.time is None:
        return 0.0
    shown_s = float((last.duration or 0) * last.time_base) or 1 / float(stream.average_rate or 25)
    missing_s = claimed_s - (last.time - first_s + shown_s)
    return missing_s if missing_s > 1.5 * shown_s else 0.0


def cut_transport_stream(path: Path) -> str:
    """What shows that an MPEG transport stream, which does not say its length, was cut short; empty: nothing does."""
    with path.open("rb") as file:
        head, size = file.read(512), file.seek(0, os.SEEK_END)
        for length, at in TRANSPORT_PACKETS:
            if len(head) == 512 and head[at] == head[at + length] == SYNC:
                if size % length:
                    return "it ends within a packet"
                file.seek(at - length, os.SEEK_END)
                _, high, low = file.read(3)
                return "it ends with a table of what follows" if (high & 31) << 8 | low in TABLE_IDS else ""
    return ""


def _claimed_s(stream: Any) -> float | None:
    """The length of this stream, not of a longer sound beside it; Matroska writes it as a tag."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    with suppress(ValueError, KeyError):
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    return None
