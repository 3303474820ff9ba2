"""Heat maps whose mass and entropy are known: one cell, all cells, two peaks, and cells at the border."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from integral_pose.geometry.coordinates import voxel_to_norm
from integral_pose.heatmaps.confidence import heatmap_confidence
from integral_pose.heatmaps.reference import soft_argmax

B, J, D, H, W = 2, 3, 3, 4, 5
CELLS_XYZ = (W, H, D)


def at_cell(x, y, z):
    """(B, J, 3) norm, all joints at a continuous cell index."""
    norm = [voxel_to_norm(float(i), n) for i, n in zip((x, y, z), CELLS_XYZ, strict=True)]
    return torch.tensor(norm).expand(B, J, 3)


def peaks(*cells, height=60.0):
    logits = torch.zeros(B, J, D, H, W)
    for x, y, z in cells:
        logits[..., z, y, x] = height
    return logits


def test_all_in_one_cell():
    mass, entropy = heatmap_confidence(peaks((4, 0, 2)), at_cell(4, 0, 2), 0.0)
    assert mass.shape == entropy.shape == (B, J)
    torch.testing.assert_close(mass, torch.ones(B, J))
    torch.testing.assert_close(entropy, torch.zeros(B, J))
    # The joint half a cell away on one axis: a radius of half a cell holds the centre, a smaller one does not.
    half_a_cell_off = at_cell(3.5, 0, 2)
    assert heatmap_confidence(peaks((4, 0, 2)), half_a_cell_off, 0.501)[0].min() > 0.999
    assert heatmap_confidence(peaks((4, 0, 2)), half_a_cell_off, 0.499)[0].max() < 1e-6
    one_cell = torch.zeros(B, J, 1, 1, 1)
    assert heatmap_confidence(one_cell, torch.zeros(B, J, 3), 0.5)[1].tolist() == [[0] * J] * B


def test_a_flat_volume():
    """A ball of radius 1 round a cell holds it and its six neighbours, at a corner three; 2 ** 0.5 reaches edges."""
    flat = torch.full((B, J, D, H, W), -7.0)
    for cell, radius, cells in (((2, 1, 1), 1.0, 7), ((0, 0, 0), 1.0, 4), ((4, 3, 2), 1.0, 4), ((2, 1, 1), 1.42, 19),
                                ((2, 1, 1), 0.9, 1), ((2, 1, 1), 99.0, D * H * W)):  # fmt: skip
        mass, entropy = heatmap_confidence(flat, at_cell(*cell), radius)
        torch.testing.assert_close(mass, torch.full((B, J), cells / (D * H * W)))
        torch.testing.assert_close(entropy, torch.ones(B, J))
    outside = at_cell(-9, 0, 0)
    assert heatmap_confidence(flat, outside, 2.0)[0].tolist() == [[0] * J] * B


def test_two_peaks_have_half_each_and_the_entropy_of_one_bit():
    logits = peaks((0, 1, 1), (4, 1, 1))
    middle = soft_argmax(logits)  # between the two, where nothing is
    torch.testing.assert_close(middle, at_cell(2, 1, 1))
    mass, entropy = heatmap_confidence(logits, middle, 1.9)
    torch.testing.assert_close(mass, torch.zeros(B, J))
    torch.testing.assert_close(entropy, torch.full((B, J), math.log(2) / math.log(D * H * W)))
    assert heatmap_confidence(logits, middle, 2.1)[0].min() > 0.999
    torch.testing.assert_close(heatmap_confidence(logits, at_cell(4, 1, 1), 1.0)[0], torch.full((B, J), 0.5))


def test_each_joint_of_each_sample_by_itself():
    logits = torch.zeros(B, J, D, H, W)
    logits[0, 1, 2, 3, 4] = logits[1, 2, 0, 0, 0] = 60
    mass, entropy = heatmap_confidence(logits, at_cell(4, 3, 2), 0.5)
    assert (mass > 0.9).tolist() == [[False, True, False], [False, False, False]]
    assert (entropy < 0.1).tolist() == [[False, True, False], [False, False, True]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_worked_in_float32_at_least(dtype):
    logits = torch.randn(B, J, 8, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    joints = soft_argmax(logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mass, entropy = heatmap_confidence(logits, joints, 3.0)
    assert mass.dtype == entropy.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    expected_mass, expected_entropy = heatmap_confidence(logits.double(), joints.double(), 3.0)
    torch.testing.assert_close(mass.double(), expected_mass, atol=1e-6, rtol=0)
    torch.testing.assert_close(entropy.double(), expected_entropy, atol=1e-6, rtol=0)


@given(st.integers(0, 1000), st.floats(0, 8), st.floats(-40, 40))
def test_both_lie_between_0_and_1_and_do_not_see_what_softmax_does_not(seed, radius, offset):
    generator = torch.Generator().manual_seed(seed)
    logits = 20 * torch.randn(B, J, D, H, W, generator=generator, dtype=torch.float64)
    joints = torch.rand(B, J, 3, generator=generator, dtype=torch.float64) - 0.5
    mass, entropy = heatmap_confidence(logits, joints, radius)
    for found in (mass, entropy):
        assert (found >= 0).all()
        assert (found <= 1).all()
    again = heatmap_confidence(logits + offset, joints, radius)
    torch.testing.assert_close(again, (mass, entropy), atol=1e-9, rtol=0)
    wider = heatmap_confidence(logits, joints, radius + 1)[0]
    assert (wider >= mass).all()


def test_huge_logits_stay_numbers_and_shapes_are_checked():
    logits = peaks((1, 1, 1), height=3e38)
    mass, entropy = heatmap_confidence(logits, at_cell(1, 1, 1), 1.0)
    assert (mass == 1).all()
    assert (entropy == 0).all()
    assert heatmap_confidence(logits[:0], at_cell(0, 0, 0)[:0], 1.0)[0].shape == (0, J)
    with pytest.raises(ValueError, match=r"found \(2, 3, 3, 4, 5\) and \(2, 3, 2\)"):
        heatmap_confidence(logits, at_cell(0, 0, 0)[..., :2], 1.0)
