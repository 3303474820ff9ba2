"""The thread that writes checkpoints: training does not wait for it, and it neither loses nor hides anything."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from integral_pose.errors import OutputError
from integral_pose.runs import background_writer as module
from integral_pose.runs.background_writer import BackgroundWriter

LAST, BEST = Path("last.pt"), Path("best.pt")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 600.0)
    monkeypatch.setattr(module, "LAST_RETRY_S", 0.01)


class Disk:
    """Notes what is written; can be slow, or full for some tries."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.tries = self.full_for = 0
        self.free = threading.Event()
        self.free.set()
        self.began = threading.Event()

    def write(self, name: str) -> Callable[[], None]:
        def work() -> None:
            self.began.set()
            assert self.free.wait(30)
            self.tries += 1
            if self.tries <= self.full_for:
                raise OSError(errno.ENOSPC, "No space left on device: 9 bytes are missing")
            self.written.append(name)

        return work


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_only_the_newest_of_those_that_wait_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    disk, writer = Disk(), BackgroundWriter()
    disk.free.clear()
    writer.submit(LAST, disk.write("last 1"))
    assert disk.began.wait(30)
    for step in (2, 3, 4):
        writer.submit(BEST, disk.write(f"best {step}"))
        writer.submit(LAST, disk.write(f"last {step}"))
    assert disk.written == []
    disk.free.set()
    writer.finish()
    assert disk.written == ["last 1", "best 4", "last 4"]
    assert capsys.readouterr().err.count("checkpoints come faster than the disk takes them") == 1


def test_finish_waits_and_the_thread_goes(capsys: pytest.CaptureFixture[str]) -> None:
    disk, writer = Disk(), BackgroundWriter()
    writer.finish()
    for step in range(3):
        writer.submit(LAST, disk.write(f"last {step}"))
        writer.finish()
        assert disk.written[-1] == f"last {step}"
    wait_until(lambda: all(thread.name != "checkpoint writer" for thread in threading.enumerate()))
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_tried_again_with_the_next_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    disk, writer = Disk(), BackgroundWriter()
    disk.full_for = 2
    for step in (1, 2):
        writer.submit(LAST, disk.write(f"last {step}"))
        wait_until(lambda step=step: disk.tries == step)
    writer.submit(LAST, disk.write("last 3"))
    writer.finish()
    assert disk.written == ["last 3"]
    said = capsys.readouterr().err
    assert said.count("last.pt: not saved: [Errno 28] No space left on device: 9 bytes are missing. It is tried") == 2
    assert said.count("last.pt: saved at last") == 1


def test_a_full_disk_is_tried_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    disk, writer = Disk(), BackgroundWriter()
    disk.full_for = 5
    writer.submit(LAST, disk.write("last 1"))
    wait_until(lambda: disk.written == ["last 1"])
    assert disk.tries == 6


def test_a_full_disk_does_not_hold_back_what_fits() -> None:
    disk, writer = Disk(), BackgroundWriter()
    disk.full_for = 1
    disk.free.clear()  # or the first try may be over, and another one due, before the second file is asked for
    writer.submit(BEST, disk.write("best 1"))
    writer.submit(LAST, disk.write("last 1"))
    disk.free.set()
    wait_until(lambda: disk.written == ["last 1"])
    writer.finish()
    assert disk.written == ["last 1", "best 1"]


def test_at_the_end_three_tries_are_made() -> None:
    disk, writer = Disk(), BackgroundWriter()
    disk.full_for = 100
    writer.submit(LAST, disk.write("last 1"))
    wait_until(lambda: disk.tries == 1)
    with pytest.raises(
        OutputError, match=r"^not saved, 3 times tried: last.pt: \[Errno 28\] No space left on device: 9"
    ):
        writer.finish()
    assert disk.tries == 1 + 3
    assert OutputError.exit_code == 5
    writer.finish()  # nothing waits any more


@pytest.mark.parametrize("how", ["submit", "finish"])
def test_a_fault_of_the_program_surfaces(how: str) -> None:
    def wrong() -> None:
        raise TypeError("content is a lambda")

    disk, writer = Disk(), BackgroundWriter()
    writer.submit(LAST, wrong)
    wait_until(lambda: writer._thread is None)
    call = writer.finish if how == "finish" else lambda: writer.submit(LAST, disk.write("last 2"))
    with pytest.raises(TypeError, match="content is a lambda"):
        call()
    writer.submit(LAST, disk.write("last 3"))
    writer.finish()
    assert disk.written == ["last 3"]


def test_what_torch_makes_of_a_full_disk_is_the_disk() -> None:
    def bury() -> None:
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc] unexpected pos 576 vs 534")  # noqa: B904 - so it is

    writer = BackgroundWriter()
    writer.submit(LAST, bury)
    with pytest.raises(OutputError, match="Disk quota exceeded"):
        writer.finish()


def test_a_full_disk_that_holds_the_log_too_kills_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    disk, writer = Disk(), BackgroundWriter()
    disk.full_for = 2
    with Path("/dev/full").open("w", buffering=1) as log, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", log)
        writer.submit(LAST, disk.write("last 1"))
        wait_until(lambda: disk.tries >= 3 or not any(t.name == "checkpoint writer" for t in threading.enumerate()))
        patch.setattr(sys, "stderr", sys.__stderr__)
        os.dup2(os.open(os.devnull, os.O_WRONLY), log.fileno())  # what it holds back can be closed then
    wait_until(lambda: disk.written == ["last 1"])


@pytest.mark.parametrize("how", ["submit", "finish"])
def test_a_thread_that_dies_is_noticed(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def dies(text: str) -> None:
        raise ValueError(text)

    disk, writer = Disk(), BackgroundWriter()
    disk.full_for = 1
    monkeypatch.setattr(module, "notify", dies)
    writer.submit(LAST, disk.write("last 1"))
    wait_until(lambda: all(thread.name != "checkpoint writer" for thread in threading.enumerate()))
    with pytest.raises(ValueError, match="not saved"):
        writer.finish() if how == "finish" else writer.submit(LAST, disk.write("last 2"))
    writer.submit(LAST, disk.write("last 3"))
    writer.finish()
    assert disk.written == ["last 3"]


def test_no_thread_to_be_had_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    disk, writer = Disk(), BackgroundWriter()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none)
        writer.submit(LAST, disk.write("last 1"))
        with pytest.raises(OutputError, match="last.pt: can't start new thread"):
            writer.finish()
    assert "last.pt: not saved: can't start new thread. It is tried again" in capsys.readouterr().err
    writer.submit(LAST, disk.write("last 2"))
    writer.finish()
    assert disk.written == ["last 2"]
