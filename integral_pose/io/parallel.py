"""Child processes: they end with their parent, and independent tasks are shared among fresh ones."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import TypeVar

from integral_pose.errors import IntegralPoseError
from integral_pose.io.progress import ProgressDisplay

Task = TypeVar("Task")
Result = TypeVar("Result")

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# Ctrl-C, and what schedulers, shells, lost connections and limits send where a process should end.
# Where a system lacks some, the command line says so.
STOP_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if name in signal.Signals.__members__
)


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int, *,
    unit: str, title: str, sizes: Sequence[int] | None = None, done: int = 0, show_progress: bool = True,
) -> list[Result]:  # fmt: skip
    """The results in the order of the tasks; with one worker or one task they are run in this process.

    Progress is counted in `unit`: sizes[i] for task i (None: 1 each), after `done` of earlier runs. When a task raises,
    those that have not begun are dropped, those under way are finished, and the error goes on. Raises
    IntegralPoseError if a worker dies, which a shortage of memory can cause.
    """
    sizes = [1] * len(tasks) if sizes is None else sizes
    results: dict[int, Result] = {}
    with (
        ProgressDisplay(done + sum(sizes), unit, title, done=done, show=show_progress) as progress,
        _as_finished(function, tasks, workers) as finished,
    ):
        for index, result in finished:
            results[index] = result
            progress.add(sizes[index])
    return [results[index] for index in range(len(tasks))]


@contextmanager
def _as_finished(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Iterator[tuple[int, Result]]]:
    """Pairs (index of the task, result) in the order in which they are done."""
    if workers == 1 or len(tasks) <= 1:
        yield ((index, function(task)) for index, task in enumerate(tasks))
        return
    # Fresh processes: a fork would copy whatever threads the caller has started. They read the number of
    # their threads from the environment when they import NumPy, so it has to be set before they start.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with (
        environment(**ONE_THREAD),
        ProcessPoolExecutor(
            min(workers, len(tasks)), mp_context=context, initializer=_start_worker, initargs=(stop,)
        ) as pool,
    ):
        try:
            index_of = {pool.submit(_unless_stopped, function, task): index for index, task in enumerate(tasks)}
            yield ((index_of[future], future.result()) for future in as_completed(index_of))
        except BrokenProcessPool:
            raise IntegralPoseError(
                "a worker process died, perhaps for want of memory. Start the same command again with fewer --workers"
            ) from None
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_stop: Event | None = None  # in a worker: set when no further task shall begin


def _start_worker(stop: Event) -> None:
    global _stop
    _stop = stop
    # Ctrl-C goes to the whole process group; the main process decides, so workers must finish what they hold.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)  # else it would wait for tasks for ever where the main process was killed


def _unless_stopped(function: Callable[[Task], Result], task: Task) -> Result:
    """The pool hands out a few tasks ahead, which can no longer be cancelled; they are dropped here."""
    if _stop is not None and _stop.is_set():
        raise KeyboardInterrupt
    return function(task)


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
    before = {name: os.environ[name] for name in values if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(before)
