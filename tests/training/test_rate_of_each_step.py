"""The learning rate that each step gets, by hand: over its own stage, not the run, and of this step, not the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integral_pose.config.loading import load_config
from integral_pose.experiment import train
from integral_pose.training.step import TrainStep

STAGES = [
    {"epochs": 2, "learning_rate": 0.1, "schedule": "cosine", "warmup_steps": 2, "weights": {"integral": 1.0}},
    {"epochs": 2, "learning_rate": 0.01, "schedule": "cosine", "weights": {"integral": 1.0}},
]
# Two steps an epoch. Warm-up: 1/2, 1; then cos(0) and cos(pi/2) of two steps; then cos(k pi / 4) of four.
EXPECTED = [0.05, 0.1, 0.1, 0.05, 0.01, 0.00853553, 0.005, 0.00146447]


@pytest.mark.usefixtures("tiny_backbone")
def test_two_stages_with_warm_up_and_cosine_and_a_stop_between(
    tiny_values: dict[str, Any], write_yaml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_values["stages"] = STAGES
    path, rates, whole_step = write_yaml(tiny_values), [], TrainStep.__call__

    def noted(self: TrainStep, batch: Any, loss: Any, learning_rate: float) -> Any:
        rates.append(learning_rate)
        return whole_step(self, batch, loss, learning_rate)

    monkeypatch.setattr(TrainStep, "__call__", noted)
    train(load_config(str(path), ["trainer.max_steps=5"]).config)
    assert rates == pytest.approx(EXPECTED[:5], rel=1e-5)
    train(load_config(str(path), []).config)
    assert rates == pytest.approx(EXPECTED, rel=1e-5)
