"""A data loader's worker processes: how they begin and end, and what becomes of it if one is killed or hangs."""

from __future__ import annotations

import atexit
import gc
import shutil
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from integral_pose.errors import WorkerError
from integral_pose.io.child_processes import end_with_parent

_WITH_WORKERS: weakref.WeakSet[Any] = weakref.WeakSet()  # iterators of this process that own worker processes
_WORKERS: weakref.WeakSet[Any] = weakref.WeakSet()  # their processes, which may outlive them
_waited_for: Any = None  # the iterator whose next batch this process waits for


class WorkerLost(Exception):  # noqa: N818 - becomes a WorkerError only if it happens again
    """A worker process has ended by itself."""


class Silence(Exception):  # noqa: N818 - becomes a WorkerError that says where
    """No batch came for as long as the loader's timeout."""


def watched(loader: DataLoader[Any], timeout_s: float) -> Iterator[Any]:
    """What the loader gives. Raises WorkerLost, and Silence after `timeout_s`, and only where a batch is waited for.

    torch raises the loss of a worker wherever the main thread happens to be, which may be within an update. And its
    own timeout does not see a worker that hangs after it has announced a batch and before that was fetched.
    """
    batches = iter(loader)
    if not loader.num_workers:
        yield from batches
        return
    _shut_down_at_exit(batches)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, _on_end_of_child)
    with _Patience(batches, timeout_s) as patience:
        while True:
            try:
                batch = _next(batches, patience)
            except StopIteration:
                return
            except MemoryError as error:
                raise WorkerError(f"a worker process had too little memory. {memory_hint()}") from error
            except (WorkerLost, RuntimeError, OSError, EOFError):
                found = _loss(batches)
                if patience.is_over:
                    raise Silence from None
                if found is None:
                    raise
                kill(batches)
                # Not the error itself in a variable: it would hold on to this frame, and so to the workers.
                raise WorkerLost(found) from None
            yield batch


class _Patience:
    """Kills the workers if a batch is waited for too long, which ends the wait wherever it is."""

    def __init__(self, batches: Any, timeout_s: float) -> None:
        self.is_over = False
        self._batches, self._timeout_s = batches, timeout_s
        self._since: float | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Patience:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @contextmanager
    def wait(self) -> Iterator[None]:
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def _look(self) -> None:
        while not self._done.wait(min(1.0, self._timeout_s / 4)):
            since = self._since
            if since is not None and time.monotonic() - since > self._timeout_s:
                self.is_over = True
                kill(self._batches)


def _loss(batches: Any) -> str | None:
    """Which worker has ended, if an error of the connection to it tells of that; None if all of them live."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        for worker in _workers_of(batches):
            if worker.exitcode is not None:
                return _ending(worker.pid, worker.exitcode)
        time.sleep(0.01)
    return None


def kill(batches: Any) -> None:
    """End an iterator's workers. They may hold locks and ignore signals, so they are not asked."""
    for worker in _workers_of(batches):
        worker.kill()


def _workers_of(batches: Any) -> list[Any]:
    return list(getattr(batches, "_workers"))  # noqa: B009 - torch has no public name for them


def memory_hint() -> str:
    """What to look at where processes are killed for want of memory."""
    found = []
    if Path("/proc/meminfo").exists():
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text("utf-8").splitlines())
        found.append(f"{int(lines['MemAvailable'].split()[0]) / 2**20:.1f} GiB of RAM")
    if Path("/dev/shm").exists():
        found.append(f"{shutil.disk_usage('/dev/shm').free / 2**30:.1f} GiB of /dev/shm")
    now = f" ({' and '.join(found)} are free now)" if found else ""
    return f"Take fewer data.workers or a smaller batch, or give the machine or container more memory{now}"


def start_worker(_: int) -> None:
    """Signals go to the whole process group; the main process decides, so workers must outlive them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
    # The collector would write to every object that came with the fork, and so copy the pages they lie on.
    gc.freeze()
    if "cv2" in sys.modules:  # one process a core: threads of its own would only be in the way
        sys.modules["cv2"].setNumThreads(1)


def _next(batches: Any, patience: _Patience) -> Any:
    global _waited_for
    with patience.wait():
        _waited_for = batches
        try:
            _raise_if_lost(batches)  # one may have ended since the last batch
            return next(batches)
        finally:
            _waited_for = None


def _on_end_of_child(*_: object) -> None:
    if _waited_for is not None:
        _raise_if_lost(_waited_for)


def _raise_if_lost(batches: Any) -> None:
    for worker in _workers_of(batches):
        if worker.exitcode is not None:
            raise WorkerLost(_ending(worker.pid, worker.exitcode))


def _ending(pid: int, exit_code: int) -> str:
    if exit_code >= 0:
        return f"worker process {pid} ended with status {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"worker process {pid} was ended by {name}" + {
        "SIGKILL": ", as the system does when memory runs out", "SIGBUS": ", as happens when /dev/shm is full",
    }.get(name, "")  # fmt: skip


def _shut_down_at_exit(batches: Any) -> None:
    """Workers that are left at the end are told to go before Python's own clean-up.

    That would end child processes by the very signal that ours ignore, and wait for them for ever. It is kept by the
    iterator, not the loader: where an exception's traceback holds on to it, it outlives the loader.
    """
    if not _WITH_WORKERS:
        atexit.register(_end_workers)
    _WITH_WORKERS.add(batches)
    _WORKERS.update(_workers_of(batches))


def _end_workers() -> None:
    for batches in list(_WITH_WORKERS):
        shut_down = getattr(batches, "_shutdown_workers")  # noqa: B009 - nor for this
        shut_down()
    # Where the garbage collector took the queues before the iterator, its workers were never told.
    for worker in list(_WORKERS):
        if worker.is_alive():
            worker.kill()
