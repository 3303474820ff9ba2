"""The look at a machine before a long run."""

from __future__ import annotations

import resource
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from integral_pose.cli import main as cli
from integral_pose.errors import OutputError
from integral_pose.experiment import machine_check
from integral_pose.heatmaps.backends.compiler import CompilerUnavailableError
from integral_pose.runs.lock import FolderLock

Usage = namedtuple("Usage", "total used free")


def verdicts(data: Path | None, run_dir: Path) -> dict[str, machine_check.Check]:
    return {check.name: check for check in machine_check.check_machine(data, run_dir)}


def test_a_machine_that_is_fit(course_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--data", str(course_root), "--run-dir", str(tmp_path / "runs" / "new")]) == 0
    text = capsys.readouterr().out
    assert "10 images with labels" in text
    assert text.rstrip().endswith("ready to train")
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_data_set_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--data", str(tmp_path / "none"), "--run-dir", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert "BAD   training data" in text
    assert "-> integral-pose check-data" in text
    assert "2 of" in text


def test_too_little_of_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 10**6))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 256))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def none() -> None:
        raise CompilerUnavailableError("no C++ compiler was found")

    monkeypatch.setattr(machine_check, "load_library", none)
    found = verdicts(None, tmp_path)
    assert {name for name, check in found.items() if check.verdict == "note"} >= {
        "disk", "open files", "GPU", "CPU kernels",
    }  # fmt: skip
    assert "ulimit -n 1024" in found["open files"].advice
    assert "install g++" in found["CPU kernels"].advice
    assert all(check.advice for check in found.values() if check.verdict != "ok")


def test_it_locks_the_run_folder_as_a_run_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(lock: FolderLock) -> None:
        raise OutputError("no locks here")

    monkeypatch.setattr(FolderLock, "acquire", refuse)
    check = verdicts(None, tmp_path)["run folder"]
    assert (check.verdict, check.finding) == ("BAD", f"{tmp_path}: cannot be written: no locks here")


def test_a_run_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    check = verdicts(None, tmp_path / "file")["run folder"]
    assert check.verdict == "BAD"
    assert "choose another folder" in check.advice


def test_an_old_torch_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    assert verdicts(None, tmp_path)["torch is safe"].verdict == "BAD"


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_check, "PACKAGES", ("torch", "no-such-package"))
    check = verdicts(None, tmp_path)["no-such-package"]
    assert (check.verdict, check.advice) == ("BAD", "run scripts/setup.sh")
    assert list(tmp_path.iterdir()) == []


def test_the_run_folder_is_tried_as_a_run_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file can be written there, but not take another's place: a run would end at its first checkpoint."""

    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "replace", refuse)
    check = verdicts(None, tmp_path)["run folder"]
    assert check.verdict == "BAD"
    assert "cannot be written: Invalid cross-device link" in check.finding
