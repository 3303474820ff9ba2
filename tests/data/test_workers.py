"""Workers that are killed, hang or run out of memory: the error says what to do."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integral_pose.data import loader, workers
from integral_pose.data.course import read_train
from integral_pose.data.loader import EvaluationBatches, PoseImages, TrainingBatches
from integral_pose.data.workers import end_workers
from integral_pose.errors import ProcessLostError, WorkerError


def make_batches(root: Path, workers: int, timeout_s: int = 60) -> TrainingBatches:
    images = PoseImages(read_train(root), 64, (64, 64), None)
    return TrainingBatches(
        images, 1, seed=0, workers=workers, rank=0, world=1, pin_memory=False, worker_timeout_s=timeout_s
    )


@pytest.fixture(autouse=True)
def _no_workers_of_other_tests() -> Iterator[None]:
    """Loaders that a traceback still holds, here or in other files, would leave theirs to be killed instead."""
    end_workers()
    yield
    end_workers()


def kill_one_worker() -> int:
    worker = next(child for child in multiprocessing.active_children() if child.daemon)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    return worker.pid


def test_a_killed_worker_ends_the_run_where_a_batch_is_waited_for(course_root: Path) -> None:
    epoch = make_batches(course_root, 2).epoch(1)
    next(epoch)
    pid = kill_one_worker()
    time.sleep(0.3)  # nothing is raised here, where a step would be under way
    with pytest.raises(WorkerError, match=rf"lost .*pid {pid}.* Killed.*Take fewer data.workers .*GiB of RAM") as error:
        list(epoch)
    assert error.value.exit_code == ProcessLostError.exit_code == 6
    assert "The same command continues the run" in str(error.value)
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_during_the_wait(course_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, not after the timeout."""
    monkeypatch.setattr(loader, "decode_crop", lambda *_: time.sleep(60))
    epoch = make_batches(course_root, 1).epoch(0)
    killer = threading.Timer(1, kill_one_worker)
    killer.start()
    start = time.monotonic()
    with pytest.raises(WorkerError, match="a worker process was lost"):
        next(epoch)
    assert time.monotonic() - start < 20


def test_a_worker_that_hangs(course_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_in_order(course_root)
    decode = loader.decode_crop
    seen = iter(range(100))  # counted in the worker

    def hang_at_the_third(*arguments: Any) -> None:
        if next(seen) == 2:
            time.sleep(60)
        decode(*arguments)

    monkeypatch.setattr(loader, "decode_crop", hang_at_the_third)
    got = []
    with pytest.raises(WorkerError) as error:
        got.extend(make_batches(course_root, 1, timeout_s=2).epoch(0))
    assert f"no batch came for 2 s: a worker process hangs at one of the images {names[2]}. " in str(error.value)
    assert "for slow storage raise data.worker_timeout_s" in str(error.value)
    assert not multiprocessing.active_children()


def names_in_order(root: Path) -> list[str]:
    batches = make_batches(root, 0)
    return [batches.name(int(batch.indices)) for batch in batches.epoch(0)]


def test_a_worker_without_memory(course_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(loader, "decode_crop", greedy)
    with pytest.raises(WorkerError, match=r"^a worker process had too little memory. Take fewer data.workers"):
        list(make_batches(course_root, 1).epoch(0))


def test_an_error_of_the_work_itself_stays_what_it_is(course_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ConnectionError("of ours")

    monkeypatch.setattr(loader, "decode_crop", broken)
    with pytest.raises(ConnectionError, match="of ours"):
        list(make_batches(course_root, 1).epoch(0))


def test_scoring_ends_with_a_killed_worker_too(course_root: Path) -> None:
    images = PoseImages(read_train(course_root), 64, (64, 64), None)
    batches = iter(EvaluationBatches(images, 1, workers=1, rank=0, world=1, pin_memory=False))
    next(batches)
    kill_one_worker()
    with pytest.raises(WorkerError, match="a worker process was lost"):
        list(batches)


def test_scoring_is_left_when_asked(course_root: Path) -> None:
    images, rows = PoseImages(read_train(course_root), 64, (64, 64), None), []
    batches = EvaluationBatches(images, 2, workers=0, rank=0, world=1, pin_memory=False, leave=lambda: len(rows) == 4)
    for batch in batches:
        rows += batch.indices.tolist()
    assert rows == [0, 1, 2, 3]


def test_full_shared_memory_is_not_blamed_on_images(
    course_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is full the worker's batch is lost, and silence is all that is noticed."""
    monkeypatch.setattr(loader, "decode_crop", lambda *_: time.sleep(60))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**8, 10**8, 0))
    with pytest.raises(WorkerError, match="no batch came for 1 s: /dev/shm, .* is full. .*--shm-size=8g") as error:
        list(make_batches(course_root, 1, timeout_s=1).epoch(0))
    assert "images" not in str(error.value)


def stop_one_worker() -> int:
    worker = next(child for child in multiprocessing.active_children() if child.daemon)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    return worker.pid


def test_a_worker_that_is_late_where_an_epoch_begins(course_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that persist are asked there whether they are ready."""
    monkeypatch.setattr(workers, "LONGEST_PART_S", 0.2)
    batches = make_batches(course_root, 1, timeout_s=10)
    list(batches.epoch(0))
    threading.Timer(0.7, os.kill, (stop_one_worker(), signal.SIGCONT)).start()
    assert len(list(batches.epoch(1))) == 10


def test_a_worker_that_hangs_where_an_epoch_begins(course_root: Path) -> None:
    batches = make_batches(course_root, 1, timeout_s=1)
    list(batches.epoch(0))
    stop_one_worker()
    with pytest.raises(WorkerError, match="no batch came for 1 s: a worker process hangs at one of the images S"):
        next(batches.epoch(1))
    assert not multiprocessing.active_children()


def test_time_in_which_the_process_was_stopped_does_not_count(
    course_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP to all of it, as where a scheduler suspends a job, for longer than the patience."""
    monkeypatch.setattr(workers, "LONGEST_PART_S", 0.5)
    decode = loader.decode_crop

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.4)
        return decode(*arguments)

    monkeypatch.setattr(loader, "decode_crop", slowly)
    child = os.fork()
    if child == 0:
        try:
            got = len(list(make_batches(course_root, 1, timeout_s=2).epoch(0)))
            end_workers()
        finally:
            os._exit(got if sys.exc_info()[0] is None else 99)
    time.sleep(1.2)
    stopped = [child, *(int(pid) for pid in Path(f"/proc/{child}/task/{child}/children").read_text().split())]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in stopped:
            os.kill(pid, number)
        time.sleep(2.5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
