"""Checkpoints written while training goes on. What cannot be written is kept and tried again."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from integral_pose.errors import CheckpointError, OutputError
from integral_pose.io.notices import notify

RETRY_S = 120.0  # while training goes on, unless the next checkpoint comes first
LAST_TRIES, LAST_RETRY_S = 3, 5.0  # at the end, where a signal's grace may be running out


@dataclass
class _Job:
    """A file that is not on disk yet."""

    write: Callable[[], None]
    fault: str = ""  # of the newest try
    tries: int = 0  # that failed
    rests: bool = False  # until the next round of tries


class BackgroundWriter:
    """Writes files in a thread of its own, in the order in which they were asked for.

    Of each path only the newest content counts: one that still waits when the next comes is dropped. A disk that
    is full or gone never stops training: it is reported, and tried again.
    """

    def __init__(self) -> None:
        self._jobs: dict[Path, _Job] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._current: _Job | None = None
        self._broken: BaseException | None = None  # not the disk's fault but ours
        self._retry_at = 0.0
        self._finishing = self._reported_slow = False

    def submit(self, path: Path, write: Callable[[], None]) -> None:
        """Have `write` called soon; it works on content that nobody changes any more.

        Raises what a former `write` raised, unless it was the disk's fault.
        """
        with self._changed:
            self._raise_if_broken()
            dropped = self._jobs.pop(path, None)  # the new one goes behind what it may refer to
            if dropped and dropped is not self._current and not dropped.fault and not self._reported_slow:
                self._reported_slow = True
                notify(f"{path}: checkpoints come faster than the disk takes them; older ones are left out")
            self._jobs[path] = _Job(write, fault=dropped.fault if dropped else "")
            self._start_round()
            self._have_thread()

    def finish(self) -> None:
        """Wait until all is on disk. Raises OutputError where that cannot be had in a few tries."""
        with self._changed:
            self._finishing = True
            for job in self._jobs.values():
                job.tries = 0
            self._have_thread()
            self._start_round()
            try:
                self._changed.wait_for(lambda: self._thread is None or self._has_given_up())
            finally:
                self._finishing = False
            self._raise_if_broken()
            failed, self._jobs = self._jobs, {}
            self._changed.notify_all()
        if failed:
            faults = "; ".join(f"{path}: {job.fault}" for path, job in failed.items())
            raise OutputError(
                f"not saved, {LAST_TRIES} times tried: {faults}. What was saved before is whole. Make room or mend the "
                "disk; the same command continues from there"
            )

    def _have_thread(self) -> None:
        """Start the thread where there is work and none at it."""
        if self._thread is not None or not self._jobs:
            return
        # A daemon: a second Ctrl-C must not wait for a slow disk. What it was writing is then a leftover.
        thread = threading.Thread(target=self._run, name="checkpoint writer", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads
            for path, job in self._jobs.items():
                job.fault = str(error)
                notify(f"{path}: not saved: {error}. It is tried again with the next checkpoint")
        else:
            self._thread = thread

    def _start_round(self) -> None:
        for job in self._jobs.values():
            job.rests = False
        self._changed.notify_all()

    def _has_given_up(self) -> bool:
        return all(job.tries >= LAST_TRIES for job in self._jobs.values())

    def _run(self) -> None:
        """The thread. What ends it before its work is done surfaces with the next `submit` or `finish`."""
        try:
            self._work()
        except BaseException as error:
            with self._changed:
                self._broken, self._thread = error, None
                self._changed.notify_all()

    def _work(self) -> None:
        """Write until nothing is left to write."""
        while (found := self._next()) is not None:
            path, job = found
            try:
                job.write()
            except Exception as error:
                self._note(path, job, error)
                continue
            with self._changed:
                if self._jobs.get(path) is job:
                    del self._jobs[path]
            if job.fault:
                notify(f"{path}: saved at last")

    def _next(self) -> tuple[Path, _Job] | None:
        with self._changed:
            self._current = None
            while self._jobs and not self._broken:
                for path, job in self._jobs.items():
                    if not job.rests:
                        self._current = job
                        return path, job
                pause_s = self._retry_at - time.monotonic()
                if pause_s > 0:
                    self._changed.wait(pause_s)
                else:
                    self._start_round()
            self._thread = None
            self._changed.notify_all()
            return None

    def _note(self, path: Path, job: _Job, error: Exception) -> None:
        fault = _disk_fault(error)
        with self._changed:
            if fault is None:
                self._broken = error
                return
            job.fault, job.rests = fault, True
            job.tries += 1
            self._retry_at = time.monotonic() + (LAST_RETRY_S if self._finishing else RETRY_S)
            self._changed.notify_all()
        notify(f"{path}: not saved: {fault}. It is tried again")

    def _raise_if_broken(self) -> None:
        if self._broken:
            error, self._broken = self._broken, None
            self._jobs = {}
            raise error


def _disk_fault(error: BaseException | None) -> str | None:
    """What the system reported; torch buries its error below one of its own. None where it reported nothing."""
    while error is not None:
        if isinstance(error, OSError | CheckpointError):
            return str(error)
        error = error.__cause__ or error.__context__
    return None
