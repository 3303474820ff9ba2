"""One step of the optimiser, on a network small enough to work out by hand."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from integral_pose.config.schema import OptimizerConfig
from integral_pose.contracts import LossResult, PoseBatch
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.training.schedule import build_optimizer
from integral_pose.training.step import TrainStep, all_finite


class Sum(nn.Module):
    """joints = w * mean of the image: its gradient is plain to see."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images: Tensor) -> Coordinates:
        self.calls += 1
        return Coordinates(self.weight * images.float().mean((1, 2, 3)))


def squared(output: Coordinates, batch: PoseBatch) -> LossResult:
    error = (output.coordinates - batch.joints_camera_mm[:, 0, 0]) ** 2
    return LossResult(error.mean(), {"integral": error.mean().detach()}, output.coordinates.detach())


def make_batch(images: list[float], labels: list[float]) -> PoseBatch:
    number = len(images)
    joints = torch.zeros(number, 1, 3)
    joints[:, 0, 0] = torch.tensor(labels)
    return PoseBatch(torch.arange(number), torch.tensor(images).view(-1, 1, 1, 1), joints, torch.zeros(number, 1, 2))


def make_step(model: nn.Module, **changes: object) -> TrainStep:
    settings = {
        "metric": lambda joints, batch: (joints - batch.joints_camera_mm[:, 0, 0]).abs().mean(),
        "device": torch.device("cpu"),
        "precision": torch.float32,
        "accumulation_steps": 1,
        "clip_gradient": None,
        "ema_decay": 0.0,
        "distributed": False,
    }
    settings["optimizer"] = torch.optim.SGD(model.parameters(), lr=0.0, fused=True)
    return TrainStep(model, **(settings | changes))  # type: ignore[arg-type]


def test_one_step_by_hand() -> None:
    # loss = mean((2 * [1, 3] - [1, 2])^2) = (1 + 16) / 2; gradient = mean(2 * [1, 4] * [1, 3]) = 13
    model = Sum()
    values = make_step(model)(make_batch([1, 3], [1, 2]), squared, 0.1)
    assert {name: value.item() for name, value in values.items()} == {
        "loss": 8.5, "integral": 8.5, "gradient_norm": 13.0, "skipped": False,
    }  # fmt: skip
    assert model.weight.item() == pytest.approx(2 - 0.1 * 13)


def test_gradient_is_clipped_after_it_is_measured() -> None:
    model = Sum()
    values = make_step(model, clip_gradient=1.0)(make_batch([1, 3], [1, 2]), squared, 0.1)
    assert values["gradient_norm"].item() == 13.0
    assert model.weight.item() == pytest.approx(2 - 0.1 * 1, abs=1e-5)


def test_accumulation_equals_the_whole_batch() -> None:
    whole, parts = Sum(), Sum()
    batch = make_batch([1, 3, -2, 5], [1, 2, 0, 4])
    one = make_step(whole)(batch, squared, 0.01)
    two = make_step(parts, accumulation_steps=2)(batch, squared, 0.01)
    assert parts.weight.item() == pytest.approx(whole.weight.item(), abs=1e-6)
    assert {name: value.item() for name, value in two.items()} == pytest.approx({n: v.item() for n, v in one.items()})
    assert (whole.calls.item(), parts.calls.item()) == (1, 2)


def test_moving_average_by_hand() -> None:
    model = Sum()
    step = make_step(model, ema_decay=0.75)
    averaged = step.averaged_model
    step(make_batch([1], [1]), squared, 0.1)  # 2 -> 1.8; the average begins with the first weights it sees
    step(make_batch([1], [1]), squared, 0.1)  # 1.8 -> 1.64
    assert isinstance(averaged, Sum)
    assert averaged.weight.item() == pytest.approx(0.75 * 1.8 + 0.25 * 1.64)
    assert averaged.calls.item() == 2  # buffers are the newest, not an average


def test_without_average_the_model_itself_is_scored() -> None:
    model = Sum()
    assert make_step(model).averaged_model is model


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_step_changes_nothing(bad: float, name: str) -> None:
    model = Sum()
    optimizer = build_optimizer(OptimizerConfig(name=name), model)  # type: ignore[arg-type]
    step = make_step(model, optimizer=optimizer)
    step(make_batch([1], [0]), squared, 0.1)
    before = model.weight.item(), copy.deepcopy(optimizer.state_dict()["state"])
    values = step(make_batch([1, bad], [1, 1]), squared, 0.1)
    assert not all_finite(values)
    assert (model.weight.item(), optimizer.state_dict()["state"]) == before
    assert all_finite(step(make_batch([1], [0]), squared, 0.1))
    assert model.weight.item() != before[0]


def test_finite_loss_with_non_finite_gradient_is_found() -> None:
    def root(output: Coordinates, batch: PoseBatch) -> LossResult:
        value = (output.coordinates * 0).abs().sqrt().mean()  # 0, with an infinite slope
        return LossResult(value, {}, output.coordinates.detach())

    model = Sum()
    values = make_step(model)(make_batch([1], [1]), root, 0.1)
    assert values["loss"].item() == 0
    assert not all_finite(values)
    assert model.weight.item() == 2.0


TWO_PROCESSES = """
import sys
import torch
from torch import nn
from integral_pose.contracts import LossResult, PoseBatch
from integral_pose.data.batch_order import BatchOrder
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.io.distributed import processes
from integral_pose.training.step import TrainStep

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 51))

    def forward(self, images):
        return Coordinates(self.layers(images).view(-1, 17, 3))

def loss(output, batch):
    value = ((output.coordinates - batch.joints_camera_mm) ** 2).mean()
    return LossResult(value, {"integral": value.detach()}, output.coordinates.detach())

with processes("cpu") as group:
    generator = torch.Generator().manual_seed(1)
    images, joints = torch.randn(20, 3, 8, 8, generator=generator), torch.randn(20, 17, 3, generator=generator)
    torch.manual_seed(group.rank)  # each process starts from other weights; those of the first count
    model = Net()
    # Not Adam: it would blow the rounding of gradients that are nearly zero up to whole steps.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, fused=True)
    step = TrainStep(model, optimizer, metric=lambda joints, batch: joints.mean(), device=torch.device("cpu"),
                     precision=torch.float32, accumulation_steps=2,
                     clip_gradient=0.1, ema_decay=0.5, distributed=group.world > 1)
    order = BatchOrder(20, 8, seed=3, shuffle=True, rank=group.rank, world=group.world)
    for epoch in range(3):
        order.epoch = epoch
        for keys in order:
            rows = torch.tensor([key.row for key in keys])
            values = step(PoseBatch(rows, images[rows], joints[rows], joints[rows, :, :2]), loss, 0.1)
    mean = group.mean(values["loss"])
    gathered = group.gather(group.rank)
    assert gathered == list(range(group.world)), gathered
    agreed = group.agree(group.rank == group.world - 1, 7 + group.rank, torch.device("cpu"))
    assert agreed == (True, 7), agreed
    if group.is_first:
        content = {"model": model.state_dict(), "average": step.averaged_model.state_dict(), "loss": mean}
        torch.save(content, sys.argv[1])
"""


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """The same global batches give the same weights, to rounding: order, sharing, gradient means, averages."""
    script = tmp_path / "train.py"
    script.write_text(TWO_PROCESSES)
    results = []
    for launcher in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]):
        out = tmp_path / f"{len(launcher)}.pt"
        done = subprocess.run([sys.executable, *launcher, str(script), str(out)], capture_output=True, text=True)
        # Not the status of two: under load gloo has been seen to abort a process at its exit, after the last exchange.
        assert launcher or done.returncode == 0, done.stderr
        assert out.exists(), done.stderr
        results.append(torch.load(out, weights_only=True))
    one, two = results
    for part in ("model", "average"):
        for name, value in one[part].items():
            np.testing.assert_allclose(two[part][name], value, atol=2e-6, err_msg=name)
    assert two["loss"].item() == pytest.approx(one["loss"].item(), abs=1e-6)
