"""Whole processes that are killed or stopped, and run again; see test_continuation.py for what must be the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integral_pose.config.loading import load_config
from integral_pose.errors import CheckpointError
from integral_pose.experiment import train
from integral_pose.io.checkpoint_file import load_checkpoint
from tests.nested import differences


@pytest.fixture
def experiment(tiny_values: dict[str, Any], write_yaml: Callable[..., Path]) -> Path:
    """Two epochs of two steps and one with the heat map loss, on changed pictures, with all that has a state."""
    tiny_values["data"]["augmentation"] = {"backend": "imgaug"}
    tiny_values["data"]["val_subjects"] = ["S8"]
    tiny_values["stages"] = [
        {"epochs": 2, "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 1},
        {"epochs": 1, "learning_rate": 1e-4, "weights": {"integral": 1.0, "heatmap": 0.01}},
    ]
    tiny_values["trainer"] |= {"ema_decay": 0.5, "checkpoint_every": 1, "log_every": 3, "clip_gradient": 0.5}
    tiny_values["evaluation"]["every"] = 1
    return write_yaml(tiny_values)


def test_killed_process_equals_uninterrupted(experiment: Path, tmp_path: Path) -> None:
    """As above with a real kill -9 at an unforeseen moment, through the command line."""
    expected = load_checkpoint(
        train(load_config(str(experiment), [f"run_dir={tmp_path / 'whole'}"]).config) / "last.pt"
    )
    run = tmp_path / "killed"
    command = [sys.executable, "-m", "integral_pose", "train", str(experiment), f"run_dir={run}", "data.workers=1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: (run / "last.pt").exists(), process)
    process.kill()
    process.wait()
    subprocess.run(command, check=True, capture_output=True)
    found = load_checkpoint(run / "last.pt")
    for part in ("model", "average", "optimizer"):
        assert differences(found[part], expected[part]) == []


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[Any], timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, "the process ended by itself"
        assert time.monotonic() < end, "the process did not get there in time"
        time.sleep(0.02)


@pytest.mark.usefixtures("tiny_backbone")
def test_complete_run_is_left_alone(experiment: Path, tmp_path: Path) -> None:
    config = load_config(str(experiment), [f"run_dir={tmp_path / 'run'}"]).config
    last = train(config) / "last.pt"
    before = last.read_bytes()
    train(config)
    assert last.read_bytes() == before


@pytest.mark.usefixtures("tiny_backbone")
def test_other_settings_do_not_continue_a_run(experiment: Path, tmp_path: Path) -> None:
    overrides = [f"run_dir={tmp_path / 'run'}", "trainer.max_steps=1"]
    last = train(load_config(str(experiment), overrides).config) / "last.pt"
    before = last.read_bytes()
    changed = load_config(str(experiment), [*overrides, "model.volume_depth=8", "trainer.log_every=7"]).config
    with pytest.raises(
        CheckpointError, match=r"model\.volume_depth: 4 there, 8 now - not possible(?s:.*)Choose another folder"
    ) as error:
        train(changed)
    assert "log_every" not in str(error.value)
    assert last.read_bytes() == before


@pytest.mark.usefixtures("tiny_backbone")
def test_max_steps_ends_early_and_can_be_raised(experiment: Path, tmp_path: Path) -> None:
    overrides = [f"run_dir={tmp_path / 'run'}"]
    folder = train(load_config(str(experiment), [*overrides, "trainer.max_steps=3"]).config)
    assert load_checkpoint(folder / "last.pt")["progress"]["step"] == 3
    assert (folder / "best.pt").exists()
    train(load_config(str(experiment), overrides).config)
    whole = train(load_config(str(experiment), [f"run_dir={tmp_path / 'whole'}"]).config)
    found, expected = load_checkpoint(folder / "last.pt"), load_checkpoint(whole / "last.pt")
    assert differences(found["model"], expected["model"]) == []


@pytest.mark.usefixtures("tiny_backbone")
def test_signal_handlers_are_put_back(experiment: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    train(load_config(str(experiment), [f"run_dir={tmp_path / 'run'}", "trainer.max_steps=1"]).config)
    assert signal.getsignal(signal.SIGTERM) is before
