"""How narrow a heat map is, on heat maps of which that can be counted."""

from __future__ import annotations

import pytest
import torch

from integral_pose.evaluation.confidence import heatmap_confidence
from integral_pose.kernels.reference import soft_argmax


def test_one_cell_flat_and_two_cells():
    logits = torch.zeros(2, 3, 2, 4, 8)  # D, H, W
    logits[0, 0, 1, 2, 5] = 100
    logits[1, 2] = -200.0
    logits[1, 2, 0, 3, 0] = logits[1, 2, 0, 3, 6] = 0.0  # halves, 6 cells apart: the expectation is 3 from each
    mass, entropy = heatmap_confidence(logits, soft_argmax(logits), 2.0)
    assert (mass.dtype, mass.shape, entropy.shape) == (torch.float32, (2, 3), (2, 3))
    assert mass[0, 0].item() == pytest.approx(1)
    assert entropy[0, 0].item() == pytest.approx(0, abs=1e-6)
    assert mass[1, 2].item() == pytest.approx(0, abs=1e-6)
    assert entropy[1, 2].item() == pytest.approx(1 / 6)  # 1 bit of the 6 that 64 cells hold
    assert entropy[0, 1].item() == pytest.approx(1)
    # Seen from the middle of 2 x 4 x 8 cells z is 1/2, y 1/2 or 3/2, x 1/2 to 7/2, of either sign. Within 2 cells are
    # those with (y, x) = (1/2, 1/2), (1/2, 3/2) and (3/2, 1/2); within 1.6, which is 2.56 squared, the first alone.
    assert mass[0, 1].item() == pytest.approx(3 * 8 / 64)
    near, _ = heatmap_confidence(logits, soft_argmax(logits), 1.6)
    assert near[0, 1].item() == pytest.approx(8 / 64)
    wide, _ = heatmap_confidence(logits, soft_argmax(logits), 3.001)
    assert wide[1, 2].item() == pytest.approx(1)


def test_half_precision_and_large_logits_are_safe():
    logits = torch.zeros(1, 1, 2, 2, 2, dtype=torch.bfloat16)
    logits[0, 0, 0, 0, 0] = 3e38
    mass, entropy = heatmap_confidence(logits, torch.full((1, 1, 3), -0.25), 0.5)
    assert (mass.item(), entropy.item()) == (1, 0)
