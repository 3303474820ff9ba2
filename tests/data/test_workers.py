"""Workers that are killed, hang or run out of memory: the batches are the same, or the error says what to do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from integral_pose.data import loader
from integral_pose.data.course import read_train
from integral_pose.data.loader import EvaluationBatches, PoseImages, TrainingBatches
from integral_pose.errors import WorkerError
from tests.data.test_loader import assert_same


def make_batches(root: Path, workers: int, timeout_s: int = 60) -> TrainingBatches:
    images = PoseImages(read_train(root), 64, (64, 64), None)
    return TrainingBatches(
        images, 1, seed=0, workers=workers, rank=0, world=1, pin_memory=False, worker_timeout_s=timeout_s
    )


def has_ended(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return not path.exists() or path.read_text().rpartition(")")[2].split()[0] in "ZX"


@pytest.mark.parametrize("first_batch", [0, 3])
def test_a_killed_worker_is_replaced_once(
    first_batch: int, course_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = list(make_batches(course_root, 0).epoch(1, first_batch))
    batches = make_batches(course_root, 2)
    found = []
    for batch in batches.epoch(1, first_batch):
        found.append(batch)
        if len(found) == 2:
            pid = batches.worker_processes()[0]
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)  # nothing is raised here, where a step would be under way
    assert len(found) == len(expected)
    for pair in zip(found, expected, strict=True):
        assert_same(*pair)
    said = capsys.readouterr().err
    assert f"worker process {pid} was ended by SIGKILL, as the system does when memory runs out. Others take" in said
    epoch = batches.epoch(2)
    next(epoch)
    os.kill(batches.worker_processes()[1], signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"SIGKILL.* and it is not the first. Take fewer data.workers .*GiB of RAM"):
        list(epoch)


def test_a_worker_that_hangs(course_root: Path) -> None:
    batches = make_batches(course_root, 1, timeout_s=1)
    names = [batches.name(int(batch.indices)) for batch in make_batches(course_root, 0).epoch(0)]
    epoch = batches.epoch(0)
    got = [next(epoch)]
    (pid,) = batches.worker_processes()
    os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(WorkerError) as error:
        got.extend(epoch)
    assert time.monotonic() - start < 10
    assert f"no batch came for 1 s: a worker process hangs at one of the images {names[len(got)]}. " in str(error.value)
    assert "for slow storage raise data.worker_timeout_s" in str(error.value)
    time.sleep(0.2)
    assert has_ended(pid)


def test_a_worker_without_memory(course_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(loader, "decode_crop", greedy)
    with pytest.raises(WorkerError, match=r"^a worker process had too little memory. Take fewer data.workers"):
        list(make_batches(course_root, 1).epoch(0))


def test_scoring_outlives_a_killed_worker_too(course_root: Path) -> None:
    images = PoseImages(read_train(course_root), 64, (64, 64), None)
    batches = EvaluationBatches(images, 2, workers=1, rank=0, world=1, pin_memory=False)
    rows = []
    for batch in batches:
        rows += batch.indices.tolist()
        if len(rows) == 2:
            os.kill(batches.worker_processes()[0], signal.SIGKILL)
    assert rows == list(range(10))


def test_scoring_is_left_when_asked(course_root: Path) -> None:
    images, rows = PoseImages(read_train(course_root), 64, (64, 64), None), []
    batches = EvaluationBatches(images, 2, workers=0, rank=0, world=1, pin_memory=False, leave=lambda: len(rows) == 4)
    for batch in batches:
        rows += batch.indices.tolist()
    assert rows == [0, 1, 2, 3]
