"""The baselines compute what ours computes, or a comparison of their times would mean nothing."""

from __future__ import annotations

import torch

from integral_pose.bench.published import (
    broadcast_targets,
    integral_and_heatmap_loss,
    integral_loss,
    meshgrid_targets,
    three_sums,
    volume_softmax,
)
from integral_pose.heatmaps.reference import HeatmapTarget, soft_argmax, soft_argmax_and_heatmap_loss

B, J, D, H, W = 2, 3, 4, 5, 6


def make_maps() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(B, J * D, H, W, generator=generator, dtype=torch.float64)
    joints_norm = torch.rand(B, J, 3, generator=generator, dtype=torch.float64) - 0.5
    return maps, maps.unflatten(1, (J, D)), joints_norm


def test_three_sums_are_the_soft_argmax_up_to_half_a_cell() -> None:
    maps, logits, _ = make_maps()
    half_cell = torch.tensor([0.5 / W, 0.5 / H, 0.5 / D], dtype=torch.float64)
    torch.testing.assert_close(three_sums(volume_softmax(maps, J)) + half_cell, soft_argmax(logits))


def test_dense_forms_agree_with_the_reference() -> None:
    maps, logits, joints_norm = make_maps()
    target = HeatmapTarget(radius=2)
    grids = meshgrid_targets(joints_norm, (D, H, W), target)
    torch.testing.assert_close(grids, broadcast_targets(joints_norm, (D, H, W), target))
    _, expected = soft_argmax_and_heatmap_loss(logits, joints_norm, target)
    found = integral_and_heatmap_loss(maps, joints_norm, grids) - integral_loss(maps, joints_norm)
    torch.testing.assert_close(found, expected)
