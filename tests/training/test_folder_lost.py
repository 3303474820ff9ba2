"""A run folder that is taken away from under its run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integral_pose.config.loading import load_config
from integral_pose.errors import FolderLostError
from integral_pose.experiment import train
from integral_pose.training.step import TrainStep


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: folder.rename(folder.with_name("moved")), "its folder was moved or it was deleted"),
        (lambda folder: (folder / "run.lock").unlink(), "its folder was moved or it was deleted"),
        (lambda folder: (folder / "run.lock").write_text("pid 7 on other since 2026"), "pid 7 on other since 2026"),
    ],
)
def test_a_run_whose_folder_was_taken_away_ends_at_the_next_save(
    change: Callable[[Path], Any], told: str, tiny_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After step 3; nothing that another run may have written there by then is touched."""
    folder, kept, whole_step, steps = tmp_path / "run", {}, TrainStep.__call__, []

    def take_away(self: TrainStep, *arguments: Any) -> Any:
        steps.append(0)
        if len(steps) == 3:
            deadline = time.monotonic() + 20
            while not (folder / "last.pt").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            change(folder)
            kept.update({path: path.read_bytes() for path in folder.glob("*") if path.is_file()})
        return whole_step(self, *arguments)

    monkeypatch.setattr(TrainStep, "__call__", take_away)
    overrides = ["trainer.checkpoint_every=2", "trainer.log_every=100", "stages.0.epochs=20"]
    with pytest.raises(FolderLostError, match=f"run.lock: is no longer this run's: .*{told}"):
        train(load_config(str(tiny_yaml), overrides).config)
    assert len(steps) <= 8
    assert {path: path.read_bytes() for path in folder.glob("*") if path.is_file()} == kept
