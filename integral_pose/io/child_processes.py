"""How child processes begin, and that they end with their parent, even where it was killed and told nobody."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent(number: signal.Signals) -> None:
    """Have the system send this process a signal once its parent is gone. Does nothing where the system is not Linux.

    To be called from the new process. Its parent is the thread that started it, so that has to be a main thread.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid != os.getppid():  # it was gone before
            os.kill(os.getpid(), number)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Inside, environment variables have these values, for processes that start; afterwards those of before."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
