"""Signals and a time limit as a request to stop, which training meets between two steps."""

import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from integral_pose.errors import Interrupted
from integral_pose.io.parallel import STOP_SIGNALS

# torchrun sends the Ctrl-C that it gets on to its processes, which had it from the terminal already.
ECHO_S = 1.0
NO_SIGNAL = b"\0"


class ScoringStopped(Exception):  # noqa: N818 - no fault: a signal came while held-out images were being predicted
    """Scoring was left before its end and has no result."""


class Signalled(BaseException):
    """A signal came where nothing has to be saved. Not an Exception, which `except Exception` would swallow."""

    exit_code = Interrupted.exit_code


class StopSignal:
    """True once a signal came or `seconds` have passed. A second Ctrl-C ends the process, after `before_exit`."""

    def __init__(self, seconds: float | None = None) -> None:
        self.name: str | None = None
        self.before_exit: Callable[[], None] = lambda: None
        self._end = None if seconds is None else time.monotonic() + seconds

    def __bool__(self) -> bool:
        if self.name is None and self._end is not None and time.monotonic() >= self._end:
            self.name = "trainer.max_time"
        return self.name is not None

    def _receive(self, number: int, _: FrameType | None) -> None:
        # Only a mark is set here: saving inside a handler could interrupt a save that is under way.
        self.name = self.name or signal.Signals(number).name


@contextmanager
def stop_signal(seconds: float | None = None) -> Iterator[StopSignal]:
    """Listens to STOP_SIGNALS inside the block, and to the clock from its beginning on."""
    stop = StopSignal(seconds)
    _keep_apart_from_children()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # The interpreter runs handlers between two instructions, and one may be a backward pass of many seconds. It
    # notes each signal in the pipe at once, though, and the thread is free to act.
    watcher = threading.Thread(target=_end_at_second_interrupt, args=(reading, stop), daemon=True)
    watcher.start()
    before = {number: signal.signal(number, stop._receive) for number in _heard()}
    pipe_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(pipe_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.write(writing, NO_SIGNAL)  # not its end, which forked workers hold open too
        watcher.join()
        os.close(writing)
        os.close(reading)


@functools.cache
def _keep_apart_from_children() -> None:
    """A child that has just been forked must not report its signals in our pipe: Ctrl-C, which the terminal sends to
    both, would be taken for two."""
    masks: list[set[int]] = []

    def in_child() -> None:
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop())

    os.register_at_fork(
        before=lambda: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop()),
        after_in_child=in_child,
    )


@contextmanager
def signals_as_errors() -> Iterator[None]:
    """Inside, STOP_SIGNALS raise Signalled as Ctrl-C raises KeyboardInterrupt, so that files are tidied up."""
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    before = {number: signal.signal(number, _raise) for number in _heard() if number != signal.SIGINT}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heard() -> list[signal.Signals]:
    """Those that whoever started this has not had ignored, as nohup does with SIGHUP. A shell's `&` may do so too,
    with SIGINT, which training always heard."""
    return [n for n in STOP_SIGNALS if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]


def _raise(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the tidying up
    raise Signalled(f"stopped by {signal.Signals(number).name}; no file was left half written. Start the same again")


def _end_at_second_interrupt(pipe: int, stop: StopSignal) -> None:
    first: float | None = None
    while NO_SIGNAL not in (received := os.read(pipe, 64)):
        for _ in range(received.count(signal.SIGINT)):
            now = time.monotonic()
            if first is None:
                first = now
            elif "TORCHELASTIC_RUN_ID" not in os.environ or now - first > ECHO_S:
                _end(stop)


def _end(stop: StopSignal) -> None:
    """Leave with status 130 here and now. Files are written elsewhere and renamed, so none is left half."""
    with suppress(Exception):  # nothing may keep the process from ending
        stop.before_exit()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(130)
