"""Taking the background out of an expectation: worked by hand, at its limit, and by its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from integral_pose.geometry.coordinates import voxel_to_norm
from integral_pose.heatmaps.debias import SMALLEST_FOREGROUND, without_background
from integral_pose.heatmaps.volume import soft_argmax

SHAPE = (2, 3, 3, 4, 5)  # B, J, D, H, W
CELLS = 3 * 4 * 5


def debiased(logits: Tensor) -> Tensor:
    return without_background(soft_argmax(logits), logits)


def centre_of(cell: tuple[int, int, int], shape: tuple[int, int, int]) -> list[float]:
    """norm (x, y, z) of a cell (d, h, w)."""
    return [voxel_to_norm(i, n) for i, n in zip(reversed(cell), reversed(shape), strict=True)]


@pytest.mark.parametrize("cell", [(1, 2, 3), (0, 0, 0), (2, 3, 4)])
def test_one_raised_cell_by_hand(cell: tuple[int, int, int]) -> None:
    """exp(x) is 61 in one of 60 cells and 1 in the rest: C = 120, so half of the mass is background."""
    logits = torch.zeros(SHAPE, dtype=torch.float64)
    logits[1, 2, cell[0], cell[1], cell[2]] = math.log(61)
    centre = centre_of(cell, (3, 4, 5))
    assert soft_argmax(logits)[1, 2].tolist() == pytest.approx([x / 2 for x in centre], abs=1e-15)
    assert debiased(logits)[1, 2].tolist() == pytest.approx(centre, abs=1e-14)
    assert debiased(logits)[0].abs().max() < 1e-14


def gaussian(dims: int) -> Tensor:
    """A peak of height 8 and sigma 2 cells round cell 50 of 64, on `dims` axes; the others have one cell."""
    along = torch.exp(-((torch.arange(64, dtype=torch.float64) - 50) ** 2) / 8)
    peak = 8 * along[:, None] * along[None]
    return (peak if dims == 2 else peak[None] * along[:, None, None])[(None,) * (5 - dims)]


def test_a_gaussian_on_a_plane_of_64_squared() -> None:
    """With cell i at i / 64, as others count, the expectation is 0.703 and the peak 0.781; here half a cell more."""
    logits = gaussian(2)
    x_raw, x = soft_argmax(logits)[0, 0, 0].item() + 0.5, debiased(logits)[0, 0, 0].item() + 0.5
    assert x_raw - 0.5 / 64 == pytest.approx(0.703, abs=5e-4)
    assert x - 0.5 / 64 == pytest.approx(50 / 64, abs=1e-9)
    without_the_factor = logits.exp().sum()  # C / (C - 1): the cells forgotten
    assert (x_raw - 0.5) * without_the_factor / (without_the_factor - 1) + 0.5 == pytest.approx(x_raw, abs=5e-5)


def test_a_gaussian_in_a_volume_of_64_cubed() -> None:
    """The same on three axes, where 92 % of the mass is background: all three coordinates come back."""
    logits = gaussian(3)
    assert soft_argmax(logits)[0, 0].tolist() == pytest.approx([0.0810 * (50.5 / 64 - 0.5)] * 3, abs=1e-4)
    assert debiased(logits)[0, 0].tolist() == pytest.approx([50.5 / 64 - 0.5] * 3, abs=1e-9)
    in_float32 = debiased(logits.float())[0, 0].tolist()
    assert in_float32 == pytest.approx([50.5 / 64 - 0.5] * 3, abs=1e-5)


def test_equals_the_sum_over_what_stands_out() -> None:
    """sum (exp(x) - 1) c / sum (exp(x) - 1), the definition, for a background that is not flat."""
    logits = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64).abs() * 2
    weights = logits.expm1()
    for axis, dim, cells in ((0, 4, 5), (1, 3, 4), (2, 2, 3)):
        centres = voxel_to_norm(torch.arange(cells, dtype=torch.float64), cells)
        shape = [1] * 5
        shape[dim] = cells
        expected = (weights * centres.view(shape)).sum((2, 3, 4)) / weights.sum((2, 3, 4))
        torch.testing.assert_close(debiased(logits)[..., axis], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("height", [1e3, 1e30])
@pytest.mark.parametrize("background", [0.0, -1e3])
def test_one_hot_decodes_to_the_centre_of_its_cell(height: float, background: float) -> None:
    """Heights whose exponential is infinite."""
    logits = torch.full(SHAPE, background)
    logits[0, 1, 2, 0, 4] = height
    assert debiased(logits)[0, 1].tolist() == pytest.approx(centre_of((2, 0, 4), (3, 4, 5)), abs=1e-6)


@pytest.mark.parametrize("level", [0.0, -1.0, -1e4, -1e30])
def test_nothing_above_the_background(level: float) -> None:
    """C <= N: the expectation is multiplied by the limit, 20, and every gradient is finite."""
    logits = torch.full(SHAPE, level)
    logits[0, 0, 0, 0, 0] += level / 2
    logits.requires_grad_()
    raw, found = soft_argmax(logits), debiased(logits)
    torch.testing.assert_close(found, raw / SMALLEST_FOREGROUND, rtol=1e-5, atol=1e-6)
    assert 1 / SMALLEST_FOREGROUND == 20
    found.pow(2).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_no_step_at_the_limit() -> None:
    """Foregrounds of just under and just over 5 %: C = N / (1 - share)."""
    found = []
    for share in (SMALLEST_FOREGROUND * (1 - 1e-9), SMALLEST_FOREGROUND * (1 + 1e-9)):
        logits = torch.zeros(1, 1, 3, 4, 5, dtype=torch.float64)
        logits[..., 2, 3, 4] = math.log(CELLS / (1 - share) - CELLS + 1)
        found.append(debiased(logits))
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=0)


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    peaked = torch.randn(SHAPE, generator=generator, dtype=torch.float64) * 2 + 1
    flat = torch.randn(SHAPE, generator=generator, dtype=torch.float64) - 1
    for logits in (peaked, flat):  # away from the limit and beyond it
        assert torch.autograd.gradcheck(debiased, logits.requires_grad_())


@given(seed=st.integers(0, 1000), spread=st.floats(0.1, 30))
def test_a_flip_negates_x(seed: int, spread: float) -> None:
    logits = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * spread
    flipped = debiased(logits.flip(-1))
    torch.testing.assert_close(flipped, debiased(logits) * torch.tensor([-1.0, 1, 1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels_last", [False, True])
def test_bf16_is_read_in_float32(channels_last: bool) -> None:
    logits = torch.randn(2, 12, 4, 5, generator=torch.Generator().manual_seed(0)).mul(3).bfloat16()
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    volume = logits.unflatten(1, (3, 4))
    found = debiased(volume)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, debiased(volume.double()).float(), rtol=1e-5, atol=1e-6)
