"""Which checkpoint of a run is taken, and the random generators' state in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from integral_pose.errors import CheckpointError
from integral_pose.runs.checkpoint import find_checkpoint, newest_run, random_state, restore_random_state


def test_random_state_goes_back() -> None:
    state = random_state()
    first = torch.rand(3)
    restore_random_state(state)
    assert torch.equal(torch.rand(3), first)


def test_find_checkpoint_prefers_the_best(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds neither best.pt nor last.pt"):
        find_checkpoint(tmp_path)
    (tmp_path / "previous.pt").touch()
    assert find_checkpoint(tmp_path).name == "previous.pt"
    (tmp_path / "last.pt").touch()
    assert find_checkpoint(tmp_path).name == "last.pt"
    (tmp_path / "best.pt").touch()
    assert find_checkpoint(tmp_path).name == "best.pt"
    assert find_checkpoint(tmp_path / "last.pt").name == "last.pt"
    with pytest.raises(CheckpointError, match="no such run folder or checkpoint"):
        find_checkpoint(tmp_path / "absent")


def test_newest_run(tmp_path: Path) -> None:
    import os

    with pytest.raises(CheckpointError, match="holds no trained run"):
        newest_run(tmp_path)
    for age, name in ((50, "old"), (10, "new"), (90, "older")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "last.pt").touch()
        os.utime(tmp_path / name / "last.pt", (1e9 - age, 1e9 - age))
    assert newest_run(tmp_path).name == "new"
