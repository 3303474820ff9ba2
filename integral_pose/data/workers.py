"""A data loader's worker processes: how they begin and end, and what is said where one is lost or silent."""

import atexit
import functools
import gc
import multiprocessing
import pickle
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data._utils import MP_STATUS_CHECK_INTERVAL
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from integral_pose.errors import WorkerError
from integral_pose.io.parallel import STOP_SIGNALS, end_with_parent

LONGEST_PART_S = 10.0  # of a wait: see `PatientLoader`
SHARED_MEMORY = Path("/dev/shm")
LEAST_SHARED_BYTES = 16_000_000  # a few images; with less free no batch is sure to get through


class PatientLoader(DataLoader[Any]):
    """Waits for its workers in parts: whatever else passes within one, the process was stopped, and they were too.

    So a scheduler may suspend a job for hours. (The time in which a machine sleeps is on no clock that is asked here:
    Linux and macOS leave it out of the monotonic one.)
    """

    def _get_iterator(self) -> Any:
        return _PatientIterator(self) if self.num_workers else super()._get_iterator()


class _PatientIterator(_MultiProcessingDataLoaderIter):
    def _try_get_data(self, timeout: float = MP_STATUS_CHECK_INTERVAL) -> tuple[bool, Any]:
        """Whether something came within so many seconds awake, and what."""
        while True:
            found: tuple[bool, Any] = super()._try_get_data(min(timeout, LONGEST_PART_S))
            timeout -= LONGEST_PART_S
            if found[0] or timeout <= 0:
                return found


def watched(loader: DataLoader[Any], next_images: Callable[[], str]) -> Iterator[Any]:
    """What the loader gives. Raises WorkerError where a worker process was lost, is silent or had too little memory.

    Silence may last the loader's `timeout`; `next_images` names what is waited for then.
    """
    if not loader.num_workers:
        yield from loader
        return
    _end_workers_at_exit()  # before torch's own clean-up is registered, so that it runs after it
    with _faults_told(loader, next_images):  # from the second epoch on the workers are asked whether they are there
        batches = iter(loader)
    waiting = _losses_only_while_waiting()
    while True:
        with _faults_told(loader, next_images):
            try:
                with waiting():
                    batch = next(batches)
            except StopIteration:
                return
        yield batch


@contextmanager
def _faults_told(loader: DataLoader[Any], next_images: Callable[[], str]) -> Iterator[None]:
    """Inside, what a lost or silent worker raises becomes a WorkerError, and the others are ended."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError, pickle.UnpicklingError, MemoryError) as error:
        fault = _fault(error, loader.timeout, next_images)
        if fault is None:
            raise
        end_workers()
        raise WorkerError(fault) from None


def _fault(error: Exception, timeout_s: float, next_images: Callable[[], str]) -> str | None:
    """What an error of a loader tells of its workers; None for an error of what they do."""
    if isinstance(error, MemoryError):
        return f"a worker process had too little memory. {memory_hint()}"
    told = str(error.__cause__ if isinstance(error.__cause__, RuntimeError) else error).strip()
    if "timed out" in told:
        if SHARED_MEMORY.exists() and shutil.disk_usage(SHARED_MEMORY).free < LEAST_SHARED_BYTES:
            return (
                f"no batch came for {timeout_s:g} s: {SHARED_MEMORY}, through which they travel, is full. Remove files "
                "from it, start the container with --shm-size=8g, or set data.workers=0"
            )
        return (
            f"no batch came for {timeout_s:g} s: a worker process hangs at one of the images {next_images()}. Look "
            "whether their disk answers; for slow storage raise data.worker_timeout_s"
        )
    is_of_connection = not isinstance(error, RuntimeError) and "in DataLoader worker process" not in told
    if is_of_connection or "DataLoader worker (pid" in told:
        return f"a worker process was lost ({told.rstrip('.')}). {memory_hint()}. The same command continues the run"
    return None


class _OnlyWhileWaiting:
    """torch's handler of SIGCHLD, which raises RuntimeError where a worker has ended, heard only inside `waiting`.

    torch would raise it wherever the main thread happens to be, which may be within an update.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self._handler, self._is_waiting = handler, False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._is_waiting:
            self._handler(number, frame)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self._is_waiting = True
        try:
            self._handler(signal.SIGCHLD, None)  # one may have ended since the last batch
            yield
        finally:
            self._is_waiting = False


def _losses_only_while_waiting() -> Callable[[], Any]:
    """The context in which the end of a worker is raised. To be called once a loader has begun."""
    handler = signal.getsignal(signal.SIGCHLD)
    if not isinstance(handler, _OnlyWhileWaiting):
        if not callable(handler):  # not the main thread, which alone gets signals: the loader's timeout has to do
            return nullcontext
        handler = _OnlyWhileWaiting(handler)
        signal.signal(signal.SIGCHLD, handler)
    return handler.waiting


def start_worker(_: int) -> None:
    """Signals go to the whole process group; the main process decides, so workers must outlive them."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
    # The collector would write to every object that came with the fork, and so copy the pages they lie on.
    gc.freeze()


def end_workers() -> None:
    """End the workers of every loader of this process. They may hold locks and ignore signals: they are not asked."""
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(1)


@functools.cache
def _end_workers_at_exit() -> None:
    """Python would end what is left by the very signal that workers ignore, and then wait for them for ever."""
    atexit.register(end_workers)


def memory_hint() -> str:
    """What to look at where processes are killed for want of memory."""
    found = []
    if Path("/proc/meminfo").exists():
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text("utf-8").splitlines())
        found.append(f"{int(lines['MemAvailable'].split()[0]) / 2**20:.1f} GiB of RAM")
    if SHARED_MEMORY.exists():
        found.append(f"{shutil.disk_usage(SHARED_MEMORY).free / 2**30:.1f} GiB of {SHARED_MEMORY}")
    now = f" ({' and '.join(found)} are free now)" if found else ""
    return f"Take fewer data.workers or a smaller batch, or give the machine or container more memory{now}"
