from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from integral_pose.config.schema import OptimizerConfig, StageConfig
from integral_pose.contracts import LossResult
from integral_pose.errors import CheckpointError
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.training.schedule import build_learning_rate, build_optimizer
from integral_pose.training.step import TrainStep
from tests.nested import differences


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


class TwoParts(nn.Module):
    """joints = backbone (x + 0), then head (x + 0): two matrices and two biases of one number each."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(1, 1), nn.Linear(1, 1)
        with torch.no_grad():
            for layer in (self.backbone, self.head):
                layer.weight.fill_(1.0)
                layer.bias.zero_()

    def forward(self, images: torch.Tensor) -> Coordinates:
        return Coordinates(self.head(self.backbone(images.float().mean((2, 3)))))


class OnePixel:
    """As much of a batch as the step below asks for: one image of the value 2."""

    images = torch.full((1, 1, 1, 1), 2.0)

    def split(self, parts: int) -> list[OnePixel]:
        return [self]


def value_itself(output: Coordinates, batch: Any) -> LossResult:
    return LossResult(output.coordinates.sum(), {}, output.coordinates.detach())


def make_step(name: str, **factors: float) -> TrainStep:
    model = TwoParts()
    optimizer = build_optimizer(OptimizerConfig(name=name, **factors), model)  # type: ignore[arg-type]
    return TrainStep(
        model, optimizer, metric=lambda joints, batch: joints.mean(), device=torch.device("cpu"),
        precision=torch.float32, accumulation_steps=1, clip_gradient=None, ema_decay=0.0, distributed=False,
    )  # fmt: skip


def movement_of_a_step(step: TrainStep) -> list[float]:
    before = [parameter.item() for parameter in step.model.parameters()]
    step(OnePixel(), value_itself, 0.25)  # type: ignore[arg-type]
    return [p.item() - old for p, old in zip(step.model.parameters(), before, strict=True)]


FACTORS = {"backbone_factor": 0.5, "head_factor": 2.0}


def test_rates_of_backbone_and_head_by_hand() -> None:
    # y = h (b x + c) + d at x = 2, h = b = 1, c = d = 0: dy/db = 2, dy/dc = 1, dy/dh = 2, dy/dd = 1
    step = make_step("sgd", **FACTORS)
    for learning_rate, expected in ((0.1, [0.9, -0.05, 0.6, -0.2]), (0.0, [0.9, -0.05, 0.6, -0.2])):
        step(OnePixel(), value_itself, learning_rate)  # type: ignore[arg-type]
        assert [p.item() for p in step.model.parameters()] == pytest.approx(expected)


def test_without_factors_the_groups_are_those_of_old_checkpoints() -> None:
    groups = make_step("adamw").state()["optimizer"]["param_groups"]
    assert [group["params"] for group in groups] == [[0, 1], [2, 3]]
    assert not any("rate_factor" in group for group in groups)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize(("before", "after"), [({}, FACTORS), (FACTORS, {}), (FACTORS, FACTORS)])
def test_the_state_of_the_optimiser_survives_a_change_of_factors(
    before: dict[str, float], after: dict[str, float], name: str
) -> None:
    first, second = make_step(name, **before), make_step(name, **after)
    first(OnePixel(), value_itself, 0.25)  # type: ignore[arg-type]
    state = copy.deepcopy(first.state())
    second.restore(state, Path("last.pt"))
    for own, other in zip(second.model.parameters(), first.model.parameters(), strict=True):
        for key, value in first.optimizer.state[other].items():
            assert torch.equal(second.optimizer.state[own][key], value)
    if before == after:
        assert differences(second.state()["optimizer"], state["optimizer"]) == []
    factor = {part: after.get(f"{part}_factor", 1) / before.get(f"{part}_factor", 1) for part in ("backbone", "head")}
    ratios = [factor["backbone"]] * 2 + [factor["head"]] * 2  # a weight and a bias each
    assert movement_of_a_step(second) == pytest.approx(
        [moved * ratio for moved, ratio in zip(movement_of_a_step(first), ratios, strict=True)], rel=1e-5
    )


def test_a_state_of_other_tensors_is_refused() -> None:
    frozen = make_step("adamw")
    frozen.optimizer = torch.optim.AdamW(frozen.model.head.parameters(), fused=True)  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match=r"last\.pt: was trained in 4 tensors, and 2 are trained here"):
        frozen.restore(make_step("adamw").state(), Path("last.pt"))
