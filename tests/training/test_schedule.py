from __future__ import annotations

import pytest
from torch import nn

from integral_pose.config.schema import OptimizerConfig, StageConfig
from integral_pose.training.schedule import build_learning_rate, build_optimizer


def rates(steps: list[int], steps_per_epoch: int = 10, **stage: object) -> list[float]:
    rate = build_learning_rate(StageConfig.model_validate({"learning_rate": 1.0, **stage}), steps_per_epoch)
    return [round(rate(step), 6) for step in steps]


def test_constant_with_warm_up() -> None:
    assert rates([0, 1, 3, 4, 99], epochs=10, warmup_steps=4) == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_cosine_goes_from_the_rate_to_its_share() -> None:
    # 20 steps, of which 4 warm up: the middle of the curve is step 4 + 8
    found = rates([4, 12, 20], epochs=2, warmup_steps=4, schedule="cosine", final_fraction=0.1)
    assert found == [1.0, 0.55, 0.1]


def test_steps_drop_at_the_end_of_the_named_epochs() -> None:
    found = rates([0, 19, 20, 39, 40], epochs=5, schedule="steps", drop_epochs=[2, 4], drop_factor=0.1)
    assert found == [1.0, 1.0, 0.1, 0.1, 0.01]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_only_matrices_are_decayed(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    optimizer = build_optimizer(OptimizerConfig(name=name, weight_decay=0.1), model)  # type: ignore[arg-type]
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
        "0.weight": 0.1, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0,
    }  # fmt: skip
