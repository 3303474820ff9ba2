"""Full disks, limits and other programs end a command with one line that says what to do, never in a traceback."""

from __future__ import annotations

import argparse
import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import pytest

from integral_pose.cli.main import main, run_command
from integral_pose.data.course import read_train
from integral_pose.errors import DataError


@contextmanager
def limit(kind: int, most: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def test_a_full_disk_while_pictures_are_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "people"
    with limit(resource.RLIMIT_FSIZE, 1000):  # Python ignores SIGXFSZ, so writing fails as on a full disk
        status = main(["prepare", "synthetic", "--out", str(out), "--train", "1", "--valid", "1", "--workers", "1"])
    assert status == 3
    assert "integral-pose prepare: " in (told := capsys.readouterr().err)
    assert "File too large. What was finished is kept; mend it and start the same command again" in told
    assert not out.exists()


def run(fault: OSError) -> int:
    def fail(_: argparse.Namespace) -> int:
        raise fault

    parser = argparse.ArgumentParser(prog="integral-pose")
    parser.add_subparsers(dest="command").add_parser("test").set_defaults(run=fail)
    return run_command(parser, ["test"])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (OSError(errno.ENOSPC, "x", "a.csv"), "a.csv: No space left on device. make room"),
        (OSError(errno.EMFILE, "x"), "Too many open files. allow more open files (ulimit -n 1024)"),
        (
            OSError(errno.ENOTEMPTY, "x", "a", None, "b"),
            "a -> b: Directory not empty. another program has just written",
        ),
        (OSError("cut short"), "cut short"),
    ],
)
def test_faults_in_words(fault: OSError, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(fault) == 5
    assert capsys.readouterr().err.startswith(f"integral-pose test: {told}")


@pytest.mark.parametrize(("target", "told"), [("/dev/full", "No space left on device"), ("| head -c 0", "")])
def test_output_that_cannot_be_written(target: str, told: str) -> None:
    """In a process of its own, whose end would try again."""
    code = "from integral_pose.cli.main import main; raise SystemExit(main(['config', 'configs/demo.yaml']))"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe, Path("/dev/full").open("wb") as full:
        found = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full if target == "/dev/full" else pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert found.returncode == 5
    assert found.stderr.strip() == (f"integral-pose config: {told}. make room" if told else "")


def test_labels_that_another_program_writes_are_not_damaged(own_course_root: Path) -> None:
    path = own_course_root / "annot" / "train.h5"
    code = f"import h5py; file = h5py.File({str(path)!r}, 'r+'); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        with pytest.raises(DataError, match=r"train.h5: another program has it open for writing; close it there"):
            read_train(own_course_root)
        writer.kill()


def test_labels_left_open_by_a_killed_program(own_course_root: Path) -> None:
    path = own_course_root / "annot" / "train.h5"
    path.unlink()
    code = (
        f"import h5py, os, numpy as np; file = h5py.File({str(path)!r}, 'w', libver='v110');"
        "file['pose2d'] = np.zeros((10, 17, 2), 'f4'); file['pose3d'] = np.zeros((10, 17, 3), 'f4');"
        "file.flush(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(DataError, match=r"train.h5: .* was killed with it open; .*h5clear --status"):
        read_train(own_course_root)


def test_labels_that_cannot_be_opened_just_now(own_course_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many(*_: object) -> None:
        raise OSError(errno.EMFILE, "Unable to synchronously open file")

    monkeypatch.setattr(h5py, "File", too_many)
    with pytest.raises(DataError, match=r"train.h5: cannot be read: Too many open files"):
        read_train(own_course_root)
