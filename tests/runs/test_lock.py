"""One folder, one run: refused at once, free at once."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import platform
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from integral_pose.errors import OutputError
from integral_pose.runs.lock import FolderLock

FORK = multiprocessing.get_context("fork")


def hold(folder: Path, pipe: Connection, with_worker: bool) -> None:
    lock = FolderLock(folder)
    lock.acquire()
    worker = FORK.Process(target=time.sleep, args=(60,)) if with_worker else None
    if worker:
        worker.start()
    pipe.send(worker.pid if worker else None)
    time.sleep(60)


@pytest.mark.parametrize("with_worker", [False, True])
def test_a_second_run_is_told_who_is_there_until_that_one_is_killed(with_worker: bool, tmp_path: Path) -> None:
    ours, theirs = FORK.Pipe()
    first = FORK.Process(target=hold, args=(tmp_path / "run", theirs, with_worker))
    first.start()
    worker = ours.recv()
    try:
        lock = FolderLock(tmp_path / "run")
        began = time.monotonic()
        with pytest.raises(OutputError) as error:
            lock.acquire()
        assert time.monotonic() - began < 1
        assert f"another run is training here (pid {first.pid} on {platform.node()} since 20" in str(error.value)
        assert "choose another folder with run_dir=PATH" in str(error.value)
        first.kill()
        first.join()
        lock.acquire()  # at once, though a worker of the killed run may live on
        assert f"pid {os.getpid()} " in (tmp_path / "run" / "run.lock").read_text()
    finally:
        if worker:
            os.kill(worker, signal.SIGKILL)


def try_in_child(folder: Path) -> bool:
    """Whether another process gets the lock."""

    def attempt() -> None:
        FolderLock(folder).acquire()

    child = FORK.Process(target=attempt)
    child.start()
    child.join()
    return child.exitcode == 0


def test_it_is_held_until_it_is_released(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lock = FolderLock(tmp_path)
    lock.acquire()
    assert not try_in_child(tmp_path)
    lock.release()
    assert try_in_child(tmp_path)
    capfd.readouterr()


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    for present in (False, True):
        if present:
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "notes.txt").touch()
        lock = FolderLock(tmp_path / "run")
        lock.acquire()
        lock.release(keep=False)
        assert [path.name for path in tmp_path.rglob("*")] == (["run", "notes.txt"] if present else [])


def test_a_lock_that_was_taken_away_between_opening_and_locking_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lockf, calls = fcntl.lockf, 0

    def removed_first(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            (tmp_path / "run.lock").unlink()
        lockf(*arguments)

    monkeypatch.setattr(fcntl, "lockf", removed_first)
    lock = FolderLock(tmp_path)
    lock.acquire()
    monkeypatch.undo()
    assert calls == 2
    assert not try_in_child(tmp_path)
    lock.release()


def test_a_folder_that_cannot_be_written_is_found_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: cannot be written: File exists"):
        FolderLock(tmp_path / "file").acquire()
    with pytest.raises(OutputError, match=r"below: cannot be written: Not a directory\..*run_dir=PATH"):
        FolderLock(tmp_path / "file" / "below").acquire()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="run: cannot be written: No space left on device"):
        FolderLock(tmp_path / "run").acquire()


def test_what_a_link_leads_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.lock").symlink_to("../thesis.txt")
    with pytest.raises(OutputError, match=r"run\.lock: is a link, expected a file of this folder; remove it"):
        FolderLock(tmp_path / "run").acquire()
    assert (tmp_path / "thesis.txt").read_text() == "all of it"


def test_a_file_system_without_locks_is_named_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    FolderLock(tmp_path).acquire()
    assert "cannot be locked (No locks available), so nothing keeps a second run out" in capsys.readouterr().err
