"""The plain volume operator against values worked by hand and against torch's own cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from integral_pose.geometry.coordinates import voxel_to_norm
from integral_pose.heatmaps.reference import (
    HeatmapTarget,
    expected_position,
    soft_argmax,
    soft_argmax_and_heatmap_loss,
    target_cube,
)

SHAPE = (2, 3, 5, 6, 7)  # B, J, D, H, W, all unlike
ONE_HOT = HeatmapTarget(peak=1.0, radius=0)


def random_case(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and joints, some of them beyond the border."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(SHAPE, generator=generator, dtype=torch.float64) * 3
    return logits, torch.rand(*SHAPE[:2], 3, generator=generator, dtype=torch.float64) * 1.2 - 0.6


def single(logits: list[float]) -> Tensor:
    """One joint on a line of voxels along x."""
    return torch.tensor(logits, dtype=torch.float64).view(1, 1, 1, 1, -1)


def at_x(x_norm: float) -> Tensor:
    return torch.tensor([[[x_norm, 0.0, 0.0]]], dtype=torch.float64)


def test_one_hot_decodes_to_the_centre_of_its_cell() -> None:
    logits = torch.full(SHAPE, -1e4, dtype=torch.float64)
    logits[0, 0, 4, 2, 1] = 1e4
    expected = [voxel_to_norm(1.0, 7), voxel_to_norm(2.0, 6), voxel_to_norm(4.0, 5)]
    assert soft_argmax(logits)[0, 0].tolist() == pytest.approx(expected, abs=1e-15)


def test_equal_logits_decode_to_the_middle() -> None:
    assert soft_argmax(torch.full(SHAPE, 1e4)).abs().max() < 1e-6


def test_two_voxels_by_hand() -> None:
    # p = (1/4, 3/4); centres -1/4 and 1/4 norm.
    assert soft_argmax(single([0.0, math.log(3)]))[0, 0, 0].item() == pytest.approx(0.125)


def test_one_hot_loss_by_hand() -> None:
    # The joint lies in the second cell: -log 3/4 there, -log(1 - 1/4) in the other.
    _, loss = soft_argmax_and_heatmap_loss(single([0.0, math.log(3)]), at_x(0.25), ONE_HOT)
    assert loss.item() == pytest.approx(-2 * math.log(3 / 4))


def test_gaussian_loss_by_hand() -> None:
    # p = 1/3 everywhere; the target is (e^-1/2, 1, e^-1/2) / 2.
    target = HeatmapTarget(peak=0.5, radius=1)
    total = (1 + 2 * math.exp(-0.5)) / 2
    expected = -(total * math.log(1 / 3) + (3 - total) * math.log(2 / 3))
    _, loss = soft_argmax_and_heatmap_loss(single([0.0, 0.0, 0.0]), at_x(0.0), target)
    assert loss.item() == pytest.approx(expected)


def test_mean_is_the_sum_over_the_voxels() -> None:
    logits, joints = random_case()
    _, by_sum = soft_argmax_and_heatmap_loss(logits, joints, HeatmapTarget())
    _, by_mean = soft_argmax_and_heatmap_loss(logits, joints, HeatmapTarget(reduction="mean"))
    assert (by_mean * 5 * 6 * 7).item() == pytest.approx(by_sum.item())


def test_equals_torch_where_torch_does_not_clamp() -> None:
    logits, joints = random_case()
    target = HeatmapTarget()
    cube, inside = target_cube(joints, SHAPE[2:], target)
    p = logits.flatten(2).softmax(-1).view(SHAPE)
    dense = F.binary_cross_entropy(p, cube, reduction="none").flatten(2).sum(-1)
    position, loss = soft_argmax_and_heatmap_loss(logits, joints, target)
    assert loss.item() == pytest.approx((dense * inside).mean().item(), rel=1e-12)
    torch.testing.assert_close(position, expected_position(p), rtol=0, atol=1e-14)


def test_cube_is_cut_by_the_border() -> None:
    # In the corner cell, of 3 x 3 x 3 voxels only 2 x 2 x 2 are left.
    cube, inside = target_cube(torch.full((1, 1, 3), -0.5), SHAPE[2:], HeatmapTarget(radius=1))
    assert inside.all()
    assert (cube > 0).sum() == 8
    assert cube[0, 0, 0, 0, 0].item() == pytest.approx(1 / math.sqrt(2 * math.pi))


@pytest.mark.parametrize(("x_norm", "inside"), [(-0.5, True), (0.499, True), (0.5, False), (-0.501, False)])
def test_a_joint_on_the_border(x_norm: float, inside: bool) -> None:
    logits, _ = random_case()
    joints = torch.zeros(*SHAPE[:2], 3, dtype=torch.float64)
    joints[0, 0, 0] = x_norm
    _, loss = soft_argmax_and_heatmap_loss(logits, joints, ONE_HOT)
    joints[0, 0, 0] = 0.0
    _, without = soft_argmax_and_heatmap_loss(logits[:, 1:], joints[:, 1:], ONE_HOT)
    is_counted = not math.isclose(loss.item() * 6, without.item() * 4 + _alone(logits[1:, :1]), rel_tol=1e-9)
    assert is_counted == inside


def _alone(logits: Tensor) -> float:
    """Loss of the second sample's first joint, in the middle."""
    return soft_argmax_and_heatmap_loss(logits, torch.zeros(1, 1, 3, dtype=logits.dtype), ONE_HOT)[1].item()


@pytest.mark.parametrize("target", [HeatmapTarget(), HeatmapTarget(1.0, 2, "mean"), ONE_HOT])
def test_gradients_agree_with_finite_differences(target: HeatmapTarget) -> None:
    logits, joints = random_case()
    small = logits[:1, :2, :3, :4, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_argmax_and_heatmap_loss(x, joints[:1, :2], target), (small,))


@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_large_logits_change_nothing(offset: float) -> None:
    logits, joints = random_case()
    moved = soft_argmax_and_heatmap_loss(logits + offset, joints, HeatmapTarget())
    for value, expected in zip(moved, soft_argmax_and_heatmap_loss(logits, joints, HeatmapTarget()), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)


def test_a_certain_but_wrong_heat_map_has_a_finite_loss() -> None:
    # log(1 - p) of the wrong voxel is -1e4 though p is 1 in float32; log p of the right one is -1e4 too.
    _, loss = soft_argmax_and_heatmap_loss(single([1e4, 0.0]).float(), at_x(0.25).float(), ONE_HOT)
    assert loss.item() == pytest.approx(2e4)


def test_the_loss_is_least_where_the_heat_map_is_the_target() -> None:
    losses = [
        soft_argmax_and_heatmap_loss(single([0.0, height, 0.0]), at_x(0.0), ONE_HOT)[1].item() for height in (0, 2, 9)
    ]
    assert losses == sorted(losses, reverse=True)
