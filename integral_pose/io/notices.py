"""Lines for whoever watches a run. None of them can end it."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def notify(text: str) -> None:
    """Print to stderr, above a progress bar where there is one."""
    from tqdm import tqdm  # which a leaderboard that scores a CSV has not

    tqdm.write(text, file=UnfailingStream(sys.stderr or io.StringIO()))


def announce(text: str) -> None:
    """Print to stdout. What cannot be printed is lost; the exit status stays what it is."""
    try:
        print(text, flush=True)
    except OSError:
        give_up_lost_output()
    except ValueError:  # closed
        pass


def flush_output() -> None:
    """Have what was printed written, if stdout is open. Raises OSError."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def give_up_lost_output() -> None:
    """Lead stdout nowhere if it cannot be written, or the interpreter tries again at its end, and exits with 120."""
    try:
        flush_output()
    except OSError:
        sys.stdout = io.StringIO()


class UnfailingStream:
    """A text stream whose words are lost where it is closed, full, or read by nobody any more."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __eq__(self, other: object) -> bool:  # tqdm clears the bars of the same stream
        return self._stream == (other._stream if isinstance(other, UnfailingStream) else other)

    def __hash__(self) -> int:
        return hash(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write if that can be done."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if that can be done."""
        with suppress(OSError, ValueError):
            self._stream.flush()


@contextmanager
def unfailing_stderr() -> Iterator[None]:
    """Inside, nothing that is written to stderr raises: no message, progress bar or warning."""
    before = sys.stderr
    if not isinstance(before, UnfailingStream):
        sys.stderr = UnfailingStream(before or io.StringIO())
    try:
        yield
    finally:
        sys.stderr = before


def open_closed_streams() -> None:
    """Lead stdin, stdout and stderr that were closed (`2>&-`) to nowhere.

    Else the next files to be opened got their numbers, and a library's complaint would be written into them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
