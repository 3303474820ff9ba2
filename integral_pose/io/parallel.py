"""Independent tasks shared among fresh processes, results as they come."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import TypeVar

from integral_pose.errors import IntegralPoseError
from integral_pose.io.child_processes import end_with_parent, environment

Task = TypeVar("Task")
Result = TypeVar("Result")

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@contextmanager
def as_finished(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Iterator[tuple[Task, Result]]]:
    """Pairs (task, result) in the order in which they are done; with one worker or one task in this process.

    When the block ends with an exception, tasks that have not begun are dropped and those under way are finished.
    Raises IntegralPoseError if a worker dies, which a shortage of memory can cause.
    """
    if workers == 1 or len(tasks) <= 1:
        yield ((task, function(task)) for task in tasks)
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
            task_of = {pool.submit(_unless_stopped, function, task): task for task in tasks}
            yield ((task_of[future], future.result()) for future in as_completed(task_of))
        except BrokenProcessPool:
            raise IntegralPoseError(
                "a worker process died, perhaps for want of memory; what was finished is kept. "
                "Start the same command again with fewer --workers"
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
