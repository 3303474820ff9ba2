"""A whole run on a disk that is full, read-only or taken: when it is found, what is said, and how the run ends."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from integral_pose.cli.main import main
from integral_pose.config.loading import load_config
from integral_pose.errors import NonFiniteLossError, OutputError
from integral_pose.experiment import train
from integral_pose.io import atomic
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.runs import background_writer as writer
from integral_pose.runs.lock import FolderLock
from integral_pose.runs.status import RunStatus, read_status
from integral_pose.training.step import TrainStep

pytestmark = pytest.mark.usefixtures("tiny_backbone")


@pytest.fixture
def full_from_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """A function after which the checkpoints from one number to another (exclusive) find no room."""
    monkeypatch.setattr(writer, "LAST_RETRY_S", 0.01)

    def fill(begin: int, end: int) -> None:
        tries = 0

        def take_room(file: Any, needs_bytes: int, path: Path) -> None:
            nonlocal tries
            tries += 1
            if begin <= tries < end:
                raise OSError(
                    errno.ENOSPC, f"No space left on device: {needs_bytes - 7:,} bytes are missing", str(path)
                )

        monkeypatch.setattr(atomic, "_take_room", take_room)

    return fill


def test_training_goes_on_and_ends_with_everything_on_disk(
    tiny_yaml: Path, tmp_path: Path, full_from_to: Callable[[int, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(load_config(str(tiny_yaml), [f"run_dir={tmp_path / 'whole'}"]).config)
    full_from_to(1, 4)
    run = train(load_config(str(tiny_yaml), ["trainer.checkpoint_every=1"]).config)
    said = capsys.readouterr().err
    assert "last.pt: not saved: [Errno 28] No space left on device: " in said
    assert "bytes are missing: '" in said
    assert "last.pt: saved at last" in said
    found, expected = load_checkpoint(run / "last.pt"), load_checkpoint(whole / "last.pt")
    assert all(torch.equal(found["model"][name], value) for name, value in expected["model"].items())
    assert (run / "best.pt").exists()


def test_a_run_whose_end_cannot_be_saved_says_so_and_keeps_what_was(
    tiny_yaml: Path, full_from_to: Callable[[int, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(tiny_yaml), "trainer.max_steps=1"]) == 0
    run = Path(load_config(str(tiny_yaml)).config.run_dir)
    before = (run / "last.pt").read_bytes()
    full_from_to(1, 10_000)
    assert main(["train", str(tiny_yaml)]) == OutputError.exit_code == 5
    said = capsys.readouterr().err
    assert "integral-pose train: not saved, 3 times tried: " in said
    assert "the same command continues from there" in said
    assert (run / "last.pt").read_bytes() == before
    assert not [path for path in run.iterdir() if path.name.endswith(".tmp")]


def test_a_status_longer_than_a_block_is_written_into_that_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error may name the samples of a whole batch. Where the disk is full, what is longer would be half a file."""
    status = RunStatus(tmp_path, 0)
    status.is_ours = True
    status.running(7, 10)

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("integral_pose.runs.status.write_text_atomic", refuse)
    status.ended(NonFiniteLossError("step 7: the loss is not finite: " + ", ".join(f"µ{n}.jpg" for n in range(2000))))
    assert (tmp_path / "status.json").stat().st_size <= 4096
    found = read_status(tmp_path)
    assert (found["state"], found["exit_code"], found["step"]) == ("failed", 4, 7)
    assert found["message"].startswith("step 7: the loss is not finite: µ0.jpg")
    assert found["message"].endswith(" ...")


def test_the_status_of_a_fault_of_the_machine_is_that_of_the_command(
    tiny_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(TrainStep, "__call__", fail)
    assert main(["train", str(tiny_yaml)]) == read_status(tmp_path / "run")["exit_code"] == 5


def found_before_data_is_read(yaml: Path, run: Path, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    status = main(["train", str(yaml), f"run_dir={run}", "data.root=/absent"])  # which is never looked at
    assert time.monotonic() - began < 1
    assert status == 5
    assert said in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_found_first(
    tiny_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    found_before_data_is_read(tiny_yaml, tmp_path / "file", "file: cannot be written: File exists", capsys)
    found_before_data_is_read(tiny_yaml, tmp_path / "file" / "run", "cannot be written: Not a directory", capsys)


def test_a_read_only_disk_is_found_first(tiny_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root on Linux")
    try:
        found_before_data_is_read(tiny_yaml, disk / "run", "run: cannot be written: Read-only file system", capsys)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_second_run_is_refused_first(tiny_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "taken"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        lock = FolderLock(run)
        lock.acquire()
        os.write(writing, b"x")
        time.sleep(60)
        os._exit(0)
    try:
        os.read(reading, 1)
        found_before_data_is_read(tiny_yaml, run, f"taken: another run is training here (pid {child} on ", capsys)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
