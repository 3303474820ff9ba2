"""SIGTERM and Ctrl-C as a wish that the loop grants between two steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopSignal:
    """Up once a signal came. A second Ctrl-C is not caught any more."""

    def __init__(self) -> None:
        self.name: str | None = None

    def __bool__(self) -> bool:
        return self.name is not None

    def _receive(self, number: int, _: FrameType | None) -> None:
        # Only a mark is set here: saving inside a handler could interrupt a save that is under way.
        self.name = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Listens to SIGTERM and SIGINT inside the block."""
    stop = StopSignal()
    before = {number: signal.signal(number, stop._receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
