"""float32 is float32, repeatable operations where they are asked for, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.backends import cudnn

from integral_pose.config.loading import load_config
from integral_pose.experiment import train
from integral_pose.io.arithmetic import arithmetic
from integral_pose.io.checkpoint_file import load_checkpoint
from tests.nested import differences


def flags() -> tuple[bool, ...]:
    return (cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled())  # fmt: skip


def test_flags_inside_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = flags()
    with arithmetic():
        assert flags()[:4] == (False, True, False, False)
    with arithmetic(deterministic=True):
        assert flags() == (False, False, True, True, True)
    assert flags() == before


@pytest.mark.usefixtures("tiny_backbone")
def test_a_run_is_made_with_them_and_is_the_same_on_the_cpu(tiny_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    from integral_pose.training.step import TrainStep

    seen, call = [], TrainStep.__call__

    def watched(self: TrainStep, *arguments: object) -> object:
        seen.append(flags())
        return call(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainStep, "__call__", watched)
    models = []
    for value in ("false", "true"):
        overrides = [f"trainer.deterministic={value}", "trainer.max_steps=2", f"run_dir={tiny_yaml.parent}/{value}"]
        models.append(load_checkpoint(train(load_config(str(tiny_yaml), overrides).config) / "last.pt")["model"])
    assert [each[:4] for each in seen] == [(False, True, False, False)] * 2 + [(False, False, True, True)] * 2
    assert differences(*models) == []
