"""Every implementation of the volume operator against the plain one in float64, in values and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from volume_cases import (
    GAUSSIAN,
    ONE_HOT,
    TARGETS,
    assert_close,
    channels_last,
    evaluate,
    random_axis_logits,
    random_joints,
)

from integral_pose.heatmaps import volume
from integral_pose.heatmaps.backends.compiler import CompilerUnavailableError
from integral_pose.heatmaps.reference import HeatmapTarget
from integral_pose.heatmaps.volume import Implementation, soft_argmax, soft_argmax_and_heatmap_loss

FAST: list[Implementation] = ["eager", "compiled"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0, 40.0])
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_agrees_with_the_plain_operator(target: HeatmapTarget | None, spread: float, is_channels_last: bool) -> None:
    shape = (3, 2, 9, 6, 21)
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * spread
    logits = channels_last(logits) if is_channels_last else logits
    joints = random_joints(shape)
    assert_close(evaluate(logits.double(), joints, target, "eager"), logits, joints, target, 1e-12)
    for implementation in FAST:
        assert_close(evaluate(logits, joints, target, implementation), logits, joints, target, 1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0, 40.0])
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_axis_logits_are_added_to_the_volume(
    target: HeatmapTarget | None, spread: float, is_channels_last: bool
) -> None:
    """Values, and gradients of the volume and of the three vectors, by autograd through the sum as a volume."""
    shape = (3, 2, 9, 6, 21)
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * spread
    logits = channels_last(logits) if is_channels_last else logits
    joints, axis_logits = random_joints(shape), random_axis_logits(shape, spread, torch.float64)
    in_double = evaluate(logits.double(), joints, target, "eager", axis_logits)
    assert len(in_double.axis_gradients) == 3
    assert_close(in_double, logits, joints, target, 1e-12, axis_logits)
    axis_logits = random_axis_logits(shape, spread)
    tolerance = 2e-5 * max(1, spread / 8)  # their sum is rounded to float32
    for implementation in FAST:
        result = evaluate(logits, joints, target, implementation, axis_logits)
        assert result.gradient.stride() == logits.stride()
        assert_close(result, logits, joints, target, tolerance, axis_logits)


@settings(max_examples=60)
@given(data=st.data())
def test_any_shape_and_any_logits(data: st.DataObject) -> None:
    batch, num_joints = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    cells = data.draw(st.tuples(*[st.integers(1, 19)] * 3).filter(lambda cells: math.prod(cells) > 1))
    shape = (batch, num_joints, *cells)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 100)))
    logits = torch.randn(shape, generator=generator) * data.draw(st.sampled_from([0.0, 0.3, 3.0, 20.0, 1e4]))
    logits = logits + data.draw(st.sampled_from([0.0, 1e4, -1e4]))
    if data.draw(st.booleans()):  # near one-hot
        logits.flatten(2)[..., 0] += data.draw(st.sampled_from([5.0, 15.0, 25.0, 90.0, 200.0]))
    if data.draw(st.booleans()):
        logits = channels_last(logits)
    edge = st.sampled_from([-0.6, -0.5, -0.499, 0.0, 0.499, 0.5, 3.0, 1e9])
    joints = torch.tensor(data.draw(st.lists(edge, min_size=3, max_size=3)), dtype=torch.float64)
    joints = joints.expand(batch, num_joints, 3)
    target = data.draw(st.sampled_from(TARGETS))
    assert_close(evaluate(logits.double(), joints, target, "eager"), logits, joints, target, 1e-12)
    for implementation in FAST:
        assert_close(evaluate(logits, joints, target, implementation), logits, joints, target, 1e-5)


@pytest.mark.parametrize("num_large", [2, 3, 4, 31, 33, 52])
def test_voxels_on_both_sides_of_what_a_series_can_do(num_large: int) -> None:
    # log(1 - p) comes from sums of powers of p below 1/32 and one by one above.
    logits = torch.full((1, 1, 8, 8, 8), -30.0)
    logits.view(-1)[:: 512 // num_large][:num_large] = torch.linspace(-1, 0, num_large)
    first = torch.full((1, 1, 3), -0.49)
    truth = evaluate(logits.double(), first, ONE_HOT, "reference")
    result = evaluate(logits, first, ONE_HOT, "compiled")
    assert result.loss.item() == pytest.approx(truth.loss.item(), abs=1e-6)
    torch.testing.assert_close(result.gradient.double(), truth.gradient, rtol=0, atol=1e-6)


def test_the_share_of_the_others_is_exact_at_any_height() -> None:
    logits = torch.zeros(1, 121, 1, 1, 2, dtype=torch.float64)
    logits[0, :, 0, 0, 0] = torch.linspace(0, 60, 121)
    joints = torch.full((1, 121, 3), 0.25)
    truth, result = (evaluate(logits, joints, ONE_HOT, which) for which in ("reference", "eager"))
    torch.testing.assert_close(result.loss, truth.loss, rtol=1e-14, atol=0)


@pytest.mark.parametrize("implementation", FAST)
def test_heat_maps_that_have_lost_their_joint_still_pull(implementation: Implementation) -> None:
    # At the true voxel p = 3e-20: torch's binary cross-entropy gives no gradient there.
    logits = torch.zeros(1, 1, 4, 4, 4)
    logits[0, 0, 0, 0, 0] = 45
    result = evaluate(logits, torch.full((1, 1, 3), 0.4), ONE_HOT, implementation)
    assert result.gradient[0, 0, 3, 3, 3].item() == pytest.approx(-3, rel=0.1)
    assert_close(result, logits, torch.full((1, 1, 3), 0.4), ONE_HOT, 1e-5)


@pytest.mark.parametrize("implementation", ["eager", "compiled"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_half_precision_is_off_by_its_own_rounding(
    implementation: Implementation, dtype: torch.dtype, is_channels_last: bool
) -> None:
    shape = (2, 3, 8, 7, 18)
    logits = (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 4).to(dtype)
    logits = channels_last(logits) if is_channels_last else logits
    result = evaluate(logits, random_joints(shape), GAUSSIAN, implementation)
    truth = evaluate(logits.double(), random_joints(shape), GAUSSIAN, "reference")
    assert result.gradient.dtype == dtype
    torch.testing.assert_close(result.joints.double(), truth.joints, rtol=0, atol=1e-6)
    torch.testing.assert_close(result.loss.double(), truth.loss, rtol=1e-5, atol=0)
    half_step = torch.finfo(dtype).eps / 2
    rounded = truth.gradient.abs() * half_step * 1.01 + truth.gradient.abs().max() * 1e-6
    assert ((result.gradient.double() - truth.gradient).abs() <= rounded).all()


@pytest.mark.parametrize("implementation", FAST)
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_the_gradient_lies_in_memory_as_the_logits_do(implementation: Implementation, is_channels_last: bool) -> None:
    logits = torch.randn(2, 3, 4, 5, 6)
    logits = channels_last(logits) if is_channels_last else logits
    assert evaluate(logits, random_joints((2, 3)), GAUSSIAN, implementation).gradient.stride() == logits.stride()


@pytest.mark.parametrize("implementation", FAST)
def test_logits_in_another_order_are_read_too(implementation: Implementation) -> None:
    logits = torch.randn(2, 3, 6, 5, 4).transpose(2, 4)
    joints = random_joints((2, 3))
    assert_close(evaluate(logits, joints, GAUSSIAN, implementation), logits, joints, GAUSSIAN, 1e-5)


@pytest.mark.parametrize("implementation", FAST)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["peak", "first", "last", "all"])
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_logits_that_are_not_finite_show(
    implementation: Implementation, bad: float, place: str, is_channels_last: bool
) -> None:
    logits = torch.randn(2, 3, 5, 6, 18, generator=torch.Generator().manual_seed(2))
    joint = logits[1, 2].view(-1)
    joint[{"peak": joint.argmax(), "first": 0, "last": -1, "all": slice(None)}[place]] = bad
    logits = channels_last(logits) if is_channels_last else logits
    joints = random_joints((2, 3))
    joints[1, 2] = 7.0  # also where the joint has no heat map loss
    result = evaluate(logits, joints, GAUSSIAN, implementation)
    assert not result.loss.isfinite()
    assert not result.joints[1, 2].isfinite().any()
    assert not evaluate(logits, joints, None, implementation).joints[1, 2].isfinite().any()
    assert not result.gradient[1, 2].isfinite().any()
    assert result.joints[0].isfinite().all()
    assert result.gradient[0].isfinite().all()


def test_threads_change_nothing() -> None:
    logits, joints = torch.randn(3, 5, 8, 9, 10), random_joints((3, 5))
    axis_logits = random_axis_logits(logits.shape, 1.0)
    alone = evaluate(logits, joints, GAUSSIAN, "compiled", axis_logits)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        together = evaluate(logits, joints, GAUSSIAN, "compiled", axis_logits)
    finally:
        torch.set_num_threads(before)
    values, expected_values = ((*each[:3], *each.axis_gradients) for each in (together, alone))
    for value, expected in zip(values, expected_values, strict=True):
        assert value.equal(expected)


def test_under_autocast_sums_stay_in_float32() -> None:
    logits, joints = torch.randn(2, 3, 8, 8, 8), random_joints((2, 3))
    for implementation in (*FAST, "reference"):
        plain = soft_argmax_and_heatmap_loss(logits, joints, GAUSSIAN, implementation)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = soft_argmax_and_heatmap_loss(logits, joints, GAUSSIAN, implementation)
        for value, expected in zip(mixed, plain, strict=True):
            assert value.equal(expected)


def test_without_gradients() -> None:
    logits = torch.randn(2, 3, 8, 8, 8)
    with torch.inference_mode():
        position = soft_argmax(logits)
    torch.testing.assert_close(position, soft_argmax(logits, "reference"), rtol=0, atol=1e-6)


def test_only_one_result_used() -> None:
    logits, joints = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64, requires_grad=True), random_joints((2, 3))
    for index in range(2):
        gradients = [
            torch.autograd.grad(soft_argmax_and_heatmap_loss(logits, joints, GAUSSIAN, which)[index].sum(), logits)[0]
            for which in ("eager", "reference")
        ]
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-13)


def test_a_single_voxel_is_left_to_the_plain_operator() -> None:
    assert soft_argmax(torch.ones(1, 2, 1, 1, 1)).tolist() == [[[0.0] * 3] * 2]


def test_a_traced_operator_is_the_plain_one() -> None:
    logits = torch.randn(1, 2, 3, 4, 5)
    exported = torch.export.export(_Decoder(), (logits,))
    torch.testing.assert_close(exported.module()(logits), soft_argmax(logits), rtol=0, atol=1e-6)


class _Decoder(torch.nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return soft_argmax(logits)


def test_unknown_implementation() -> None:
    with pytest.raises(ValueError, match=r"unknown implementation 'fast'. Known: auto, reference, eager"):
        soft_argmax(torch.zeros(1, 1, 2, 2, 2), "fast")  # type: ignore[arg-type]


def test_compiled_loops_refuse_float64() -> None:
    with pytest.raises(ValueError, match="implementation='eager'"):
        soft_argmax(torch.zeros(1, 1, 2, 2, 2, dtype=torch.float64), "compiled")


def test_without_a_compiler_one_warning_and_the_eager_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> None:
        raise CompilerUnavailableError("no C++ compiler found")

    monkeypatch.setattr(volume, "load_library", nothing)
    volume._engine.cache_clear()
    volume._is_available.cache_clear()
    logits = torch.randn(1, 2, 3, 4, 5)
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler found") as warned:
        first, second = soft_argmax(logits), soft_argmax(logits)
    assert len(warned) == 1
    assert first.equal(second)
    assert first.equal(soft_argmax(logits, "eager"))
    volume._engine.cache_clear()
    volume._is_available.cache_clear()


def test_training_follows_the_same_curve() -> None:
    curves = {which: _loss_curve(which) for which in (*FAST, "reference")}
    expected = curves.pop("reference")
    assert expected[-1] < 0.8 * expected[0]
    for curve in curves.values():
        assert curve == pytest.approx(expected, rel=1e-4)


def _loss_curve(implementation: Implementation) -> list[float]:
    """50 steps of a small head, channels last as the trainer has it."""
    torch.manual_seed(0)
    head = torch.nn.Conv2d(8, 3 * 6, 3, padding=1).to(memory_format=torch.channels_last)
    features = torch.randn(4, 8, 6, 6).contiguous(memory_format=torch.channels_last)
    joints = random_joints((4, 3), reach=0.9).float()
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    losses = []
    for _ in range(50):
        logits = head(features).unflatten(1, (3, 6))
        position, heatmap = soft_argmax_and_heatmap_loss(logits, joints, GAUSSIAN, implementation)
        loss = (position - joints).abs().mean() + 0.1 * heatmap
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses
