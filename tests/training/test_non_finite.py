"""Steps with a non-finite loss or gradient: without effect, counted, described, and not too many."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from integral_pose.config.loading import load_config
from integral_pose.config.schema import OptimizerConfig
from integral_pose.contracts import LossResult, PoseBatch
from integral_pose.errors import NonFiniteLossError
from integral_pose.experiment import train
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.io.distributed import processes
from integral_pose.models.pose_net import PoseNet
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.training import non_finite
from integral_pose.training.meter import Meter
from integral_pose.training.non_finite import reason_to_stop
from integral_pose.training.schedule import build_optimizer
from integral_pose.training.state import SkippedSteps
from integral_pose.training.step import TrainStep
from tests.fork_server import ForkServer
from tests.nested import differences

NAN, INF = float("nan"), float("inf")


class Net(nn.Module):
    """All that a step can change: weights, batch-norm statistics of two types, a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 51))
        self.register_buffer("extent", torch.tensor(2.0))

    def forward(self, images: Tensor) -> Coordinates:
        return Coordinates(self.layers(images).view(-1, 17, 3) * self.extent)


def loss(output: Coordinates, batch: PoseBatch) -> LossResult:
    value = ((output.coordinates - batch.joints_camera_mm) ** 2).mean()
    return LossResult(value, {"integral": value.detach()}, output.coordinates.detach())


def make_step(optimizer: str = "adamw", accumulation_steps: int = 1, *, distributed: bool = False) -> TrainStep:
    torch.manual_seed(0)
    model = Net()
    return TrainStep(
        model,
        build_optimizer(OptimizerConfig(name=optimizer, weight_decay=0.1), model),  # type: ignore[arg-type]
        metric=lambda joints, batch: joints.mean(),
        device=torch.device("cpu"),
        precision=torch.float32,
        accumulation_steps=accumulation_steps,
        clip_gradient=1.0,
        ema_decay=0.75,
        distributed=distributed,
    )


def make_batches(number: int) -> list[PoseBatch]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(number, 4, 3, 8, 8, generator=generator)
    joints = torch.randn(number, 4, 17, 3, generator=generator)
    return [PoseBatch(torch.arange(4), images[i], joints[i], joints[i, :, :, :2]) for i in range(number)]


def spoil_pixel(batch: PoseBatch, value: float) -> None:
    batch.images[3, 0, 2, 2] = value


def spoil_label(batch: PoseBatch, value: float) -> None:
    batch.joints_camera_mm[0, 5, 1] = value


def spoil_everything(batch: PoseBatch, value: float) -> None:
    batch.images[:] = value


def changed_by(step: TrainStep, batches: list[PoseBatch]) -> dict[str, Any]:
    for batch in batches:
        step(batch, loss, 0.01)
    return copy.deepcopy(step.state())


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("accumulation_steps", [1, 2])
@pytest.mark.parametrize("at", [0, 2])
def test_a_skipped_step_is_as_if_it_had_not_been(optimizer: str, accumulation_steps: int, at: int) -> None:
    good = make_batches(4)
    expected = changed_by(make_step(optimizer, accumulation_steps), good)
    for spoil, value in ((spoil_pixel, NAN), (spoil_pixel, INF), (spoil_label, NAN), (spoil_everything, -INF)):
        bad = make_batches(1)[0]
        spoil(bad, value)
        step = make_step(optimizer, accumulation_steps)
        changed_by(step, good[:at])
        before = copy.deepcopy(step.state())
        if at:
            assert step(bad, loss, 0.01)["skipped"]
            assert differences(step.state(), before) == []
        assert step(bad, loss, 0.01)["skipped"]
        assert differences(changed_by(step, good[at:]), expected) == []


def test_the_comparison_notices_every_part() -> None:
    """The test above can fail: a step that is finite changes each of the things it compares."""
    step, batches = make_step(), make_batches(2)
    one, two = changed_by(step, batches[:1]), changed_by(step, batches[1:])
    found = differences(one, two)
    for name in ("model.layers.0.weight", "model.layers.1.running_var", "model.layers.1.num_batches_tracked",
                 "average.module.layers.1.running_mean", "average.n_averaged", "optimizer.state.0.exp_avg",
                 "optimizer.state.0.step"):  # fmt: skip
        assert f".{name}" in found


def test_a_gradient_that_is_not_finite_counts_too() -> None:
    def root(output: Coordinates, batch: PoseBatch) -> LossResult:
        value = (output.coordinates * 0).abs().sqrt().mean()  # 0, with an infinite slope
        return LossResult(value, {}, output.coordinates.detach())

    step = make_step()
    before = copy.deepcopy(step.state())["model"]
    values = step(make_batches(1)[0], root, 0.01)
    assert values["loss"].item() == 0
    assert values["skipped"]
    assert differences(step.state()["model"], before) == []


def test_the_meter_leaves_skipped_steps_out() -> None:
    meter = Meter()
    for value, counts in ((1.0, True), (NAN, False), (5.0, True)):
        meter.add({"loss": torch.tensor(value)}, torch.tensor(counts))
    assert {name: mean.item() for name, mean in meter.means().items()} == {"loss": 3.0}
    assert meter.state() == {"sums": {"loss": 6.0}, "count": 2}


def test_when_to_stop() -> None:
    skipped = SkippedSteps()
    for _ in range(19):
        skipped.add(True)
    assert reason_to_stop(skipped, 19) is None
    assert vars(skipped) == {"total": 19, "in_a_row": 19}
    skipped.add(True)
    assert reason_to_stop(skipped, 20) == "20 steps in a row"
    skipped.add(False)
    assert reason_to_stop(skipped, 499) is None
    assert reason_to_stop(skipped, 500) == "20 of 500 steps, more than 1%,"
    assert reason_to_stop(SkippedSteps(5, 0), 500) is None
    assert reason_to_stop(SkippedSteps(6, 0), 500) == "6 of 500 steps, more than 1%,"


@pytest.fixture
def breaks_down(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[int]], None]:
    """A function that makes the network's second sample NaN in some of its calls while it trains, from 1."""
    forward = PoseNet.forward

    def arrange(at: set[int]) -> None:
        calls = 0

        def broken(self: PoseNet, images: Tensor) -> Any:
            nonlocal calls
            output = forward(self, images)
            calls += self.training and torch.is_grad_enabled()
            return with_second_nan(output) if self.training and calls in at else output

        monkeypatch.setattr(PoseNet, "forward", broken)

    return arrange


def with_second_nan(output: Any) -> Any:
    """The same output of any kind but for its second sample."""
    if isinstance(output, Tensor):
        return output * torch.tensor([1.0, NAN, 1.0, 1.0]).view(-1, *[1] * (output.ndim - 1))
    if isinstance(output, tuple):
        parts = map(with_second_nan, output)
        return type(output)._make(parts) if hasattr(output, "_make") else tuple(parts)
    return output


@pytest.mark.usefixtures("tiny_backbone")
def test_a_run_goes_on_and_says_what_it_skipped(
    tiny_yaml: Path, breaks_down: Callable[[set[int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    breaks_down({3})
    overrides = ["stages.0.epochs=3", "trainer.checkpoint_every=1", "stages.0.weights.heatmap=0.01"]
    folder = train(load_config(str(tiny_yaml), overrides).config)
    last = load_checkpoint(folder / "last.pt")
    assert last["progress"]["step"] == 6
    assert last["skipped"] == {"total": 1, "in_a_row": 0}
    assert all(torch.isfinite(value).all() for value in last["model"].values())
    assert last["optimizer"]["state"][0]["step"].item() == 5
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["group"] == "train"]
    assert [row["skipped_steps"] for row in rows] == [0, 0, 1, 1, 1, 1]
    assert ["loss" in row for row in rows] == [True, True, False, True, True, True]
    described = json.loads((folder / "nonfinite_step_3.json").read_text())
    (process,) = described["processes"]
    assert process["terms"]["integral"] == "nan"
    not_finite = [sample["output"]["logits"]["not_finite"] for sample in process["samples"]]
    assert [number > 0 for number in not_finite] == [False, True, False, False]
    assert all(sample["name"].endswith(".jpg") for sample in process["samples"])
    assert "step 3: skipped, its loss or gradient is not finite; see" in capsys.readouterr().err
    assert [path.name for path in folder.glob("nonfinite*")] == ["nonfinite_step_3.json"]


@pytest.mark.usefixtures("tiny_backbone")
def test_a_full_disk_takes_no_description_and_the_run_goes_on(
    tiny_yaml: Path,
    breaks_down: Callable[[set[int]], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    breaks_down({3})
    monkeypatch.setattr(non_finite, "write_text_atomic", full)
    folder = train(load_config(str(tiny_yaml), ["stages.0.epochs=3", "stages.0.weights.heatmap=0.01"]).config)
    assert load_checkpoint(folder / "last.pt")["progress"]["step"] == 6
    assert "not finite; nonfinite_step_3.json cannot be written: [Errno 28]" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize(
    ("head", "names"),
    [("planes", {"yx", "zy", "zx"}), ("axes", {"x", "y", "z"}), ("regression", {"coordinates"})],
)
def test_every_kind_of_output_is_described(
    head: str, names: set[str], tiny_yaml: Path, breaks_down: Callable[[set[int]], None]
) -> None:
    breaks_down({1})
    folder = train(load_config(str(tiny_yaml), [f"model.head={head}", "trainer.max_steps=1"]).config)
    (process,) = json.loads((folder / "nonfinite_step_1.json").read_text())["processes"]
    first, second = (sample["output"] for sample in process["samples"][:2])
    assert first.keys() == second.keys() == names
    assert all(part.keys() == {"min", "max", "mean", "not_finite"} for part in first.values())
    assert all(part["not_finite"] == 0 for part in first.values())
    assert all(part["not_finite"] > 0 for part in second.values())


@pytest.mark.usefixtures("tiny_backbone")
def test_twenty_in_a_row_end_a_run_even_if_it_is_stopped_between(
    tiny_yaml: Path, breaks_down: Callable[[set[int]], None]
) -> None:
    overrides = ["stages.0.epochs=20", "trainer.checkpoint_every=1", "stages.0.weights.heatmap=0.01"]
    breaks_down(set(range(3, 40)))
    folder = train(load_config(str(tiny_yaml), [*overrides, "trainer.max_steps=8"]).config)
    assert load_checkpoint(folder / "last.pt")["skipped"] == {"total": 6, "in_a_row": 6}
    breaks_down(set(range(40)))
    with pytest.raises(NonFiniteLossError) as error:
        train(load_config(str(tiny_yaml), overrides).config)
    text = str(error.value)
    assert text.startswith("step 22: the loss or its gradient is not finite (loss nan, integral nan, heatmap nan")
    assert "20 steps in a row were so and were skipped, which changed no weights" in text
    assert text.count(".jpg") == 4
    assert load_checkpoint(folder / "last.pt")["progress"]["step"] == 21
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["exit_code"], status["step"]) == ("failed", 4, 21)


def one_bad_share(_: list[str]) -> None:
    """In each of two processes: the second one's share is bad, and neither changes."""
    with processes("cpu") as group:
        good = make_batches(6)[group.rank :: 2]
        expected = changed_by(make_step(accumulation_steps=2, distributed=True), good)
        step = make_step(accumulation_steps=2, distributed=True)
        changed_by(step, good[:1])
        bad = make_batches(1)[0]
        if group.rank == 1:
            spoil_pixel(bad, NAN)
        values = step(bad, loss, 0.01)
        assert values["skipped"]
        assert torch.isfinite(values["loss"]) == (group.rank == 0), "the first sees nothing wrong in its own share"

        def no_number(output: Coordinates, batch: PoseBatch) -> LossResult:
            result = loss(output, batch)
            return result._replace(total=result.total + (NAN if group.rank == 1 else 0.0))

        values = step(make_batches(1)[0], no_number, 0.01)
        assert torch.isfinite(values["gradient_norm"]), "of which the exchanged gradients tell nothing"
        assert values["skipped"]
        assert differences(changed_by(step, good[1:]), expected) == []


def test_one_bad_process_makes_all_skip(tmp_path: Path, fork_server: ForkServer) -> None:
    for process in fork_server.start_two([], tmp_path, "tests.training.test_non_finite:one_bad_share"):
        assert process.wait() == 0, process.said
