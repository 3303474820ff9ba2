"""Whose folder it is, and what a killed run left in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from integral_pose.errors import CheckpointError
from integral_pose.runs.folder import RunFolder


def test_a_folder_in_use_for_something_else_is_left_alone(tmp_path: Path) -> None:
    def opened(*names: str) -> None:
        run = tmp_path / "-".join(names)
        run.mkdir()
        for name in names:
            (run / name).touch()
        try:
            with RunFolder(run, writes=True):
                pass
        finally:
            assert {path.name for path in run.iterdir()} == set(names)

    opened("slurm-12.out", "nohup.log", ".hidden")
    opened("config.yaml", "metrics.jsonl", "provenance.json", "curves.png", "status.json")  # died before a checkpoint
    opened("last.pt", "predictions.csv")
    opened("previous.pt", "notes.txt")
    with pytest.raises(
        CheckpointError, match=r"is in use for something else: it holds notes\.txt, and no checkpoint\. C"
    ):
        opened("notes.txt")
    with pytest.raises(CheckpointError, match=r"it holds a, b, c, d, e and 1 more, and no checkpoint"):
        opened(*"abcdef")
    with pytest.raises(
        CheckpointError, match=r"holds best\.pt, but no last\.pt to continue from\. Choose another folder"
    ):
        opened("best.pt")


def test_leftovers_of_a_killed_run_are_removed_by_whoever_holds_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = ".last.pt.0123456789ab.tmp", ".predictions.csv.0123456789ab.tmp"
    for name in (ours, theirs):
        (tmp_path / name).touch()
    with RunFolder(tmp_path, writes=False):
        assert (tmp_path / ours).exists()
    with RunFolder(tmp_path, writes=True):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {theirs}
    assert f"removed what a killed run left half written: {ours}" in capsys.readouterr().err
