"""Processes that end with the one that started them, even where that was killed and could tell nobody."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

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
