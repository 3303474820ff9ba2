"""Planes and axes against values worked by hand, against the volume that they are sums of, and by their gradients."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from integral_pose.geometry.coordinates import voxel_to_norm
from integral_pose.heatmaps.marginals import (
    AXES,
    PLANES,
    GaussianMarginals,
    Marginals,
    axes_of,
    jensen_shannon,
    log_probability,
    marginal_soft_argmax,
    planes_of_volume,
    volume_shape,
)
from integral_pose.heatmaps.reference import soft_argmax

B, J, D, H, W = 2, 3, 4, 5, 6  # all unlike
KINDS = {"planes": ((H, W), (D, H), (D, W)), "axes": ((W,), (H,), (D,))}
LENGTHS = {"x": W, "y": H, "z": D}


def random_marginals(kind: str, seed: int = 0, spread: float = 2.0) -> Marginals:
    generator = torch.Generator().manual_seed(seed)
    yx, zy, zx = (torch.randn(B, J, *shape, generator=generator, dtype=torch.float64) * spread for shape in KINDS[kind])
    return yx, zy, zx


def inside(seed: int = 1) -> Tensor:
    """True joints in the volume."""
    return torch.rand(B, J, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.9 - 0.45


def one_hot(kind: str, cell: dict[str, int], height: float = 1e4) -> Marginals:
    """Of one joint in one sample, with all the mass at a cell."""
    made = []
    for axes in PLANES if kind == "planes" else AXES:
        logits = torch.zeros(1, 1, *(LENGTHS[axis] for axis in axes), dtype=torch.float64)
        logits[(0, 0, *(cell[axis] for axis in axes))] = height
        made.append(logits)
    return made[0], made[1], made[2]


def centre_of(cell: dict[str, int]) -> Tensor:
    return torch.tensor([[[voxel_to_norm(cell[axis], LENGTHS[axis]) for axis in "xyz"]]], dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_what_they_are_is_read_off_their_shapes(kind: str) -> None:
    marginals = random_marginals(kind)
    assert axes_of(marginals) == (PLANES if kind == "planes" else AXES)
    assert volume_shape(marginals) == (D, H, W)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", [{"x": 1, "y": 3, "z": 2}, {"x": 0, "y": 0, "z": 0}, {"x": 5, "y": 4, "z": 3}])
def test_one_hot_decodes_to_the_centre_of_its_cell(kind: str, cell: dict[str, int]) -> None:
    torch.testing.assert_close(marginal_soft_argmax(one_hot(kind, cell)), centre_of(cell), rtol=0, atol=1e-15)


def test_the_mean_of_the_two_planes_that_know_an_axis() -> None:
    """yx says cell (x 1, y 3), zy says (y 0, z 2), zx says (x 4, z 1): each axis is the mean of two centres."""
    yx = one_hot("planes", {"x": 1, "y": 3, "z": 0})[0]
    zy = one_hot("planes", {"x": 0, "y": 0, "z": 2})[1]
    zx = one_hot("planes", {"x": 4, "y": 0, "z": 1})[2]
    expected = [(1 + 4 + 1) / 2 / 6 - 0.5, (3 + 0 + 1) / 2 / 5 - 0.5, (2 + 1 + 1) / 2 / 4 - 0.5]
    assert marginal_soft_argmax((yx, zy, zx))[0, 0].tolist() == pytest.approx(expected, abs=1e-15)


def test_two_cells_of_an_axis_by_hand() -> None:
    """p = (1/4, 3/4) at -1/4 and 1/4."""
    x = torch.tensor([[[0.0, math.log(3)]]])
    found = marginal_soft_argmax((x, torch.zeros(1, 1, 3), torch.zeros(1, 1, 4)))
    assert found[0, 0].tolist() == pytest.approx([0.125, 0, 0], abs=1e-7)


def test_planes_of_a_volume_are_its_sums() -> None:
    volume = torch.randn(B, J, D, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    p = volume.flatten(2).softmax(-1).view_as(volume)
    planes = planes_of_volume(volume)
    for logits, expected in zip(planes, (p.sum(-3), p.sum(-1), p.sum(-2)), strict=True):
        torch.testing.assert_close(log_probability(logits).exp(), expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(marginal_soft_argmax(planes), soft_argmax(volume), rtol=0, atol=1e-14)
    assert planes_of_volume(volume.bfloat16())[0].dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 1000), spread=st.floats(0.1, 30))
def test_a_flip_negates_x(kind: str, seed: int, spread: float) -> None:
    first, second, third = random_marginals(kind, seed, spread)
    mirrored = (first.flip(-1), second, third.flip(-1)) if kind == "planes" else (first.flip(-1), second, third)
    expected = marginal_soft_argmax((first, second, third)) * torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(marginal_soft_argmax(mirrored), expected, rtol=0, atol=1e-14)


def gaussian(axes: str, centre_norm: Tensor, sigma: float) -> Tensor:
    """(B, J, ...) Gaussian round (B, J, 3) at the cell centres with the sum 1, term by term."""
    made = torch.zeros(*centre_norm.shape[:2], *(LENGTHS[axis] for axis in axes), dtype=torch.float64)
    for b, j in itertools.product(range(len(made)), range(made.shape[1])):
        for cell in itertools.product(*(range(LENGTHS[axis]) for axis in axes)):
            cells_away = [
                i - ((centre_norm[b, j, "xyz".index(axis)].item() + 0.5) * LENGTHS[axis] - 0.5)
                for i, axis in zip(cell, axes, strict=True)
            ]
            made[(b, j, *cell)] = math.exp(-sum(d * d for d in cells_away) / 2 / sigma**2)
        made[b, j] /= made[b, j].sum()
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sigma", [1.0, 0.7])
def test_divergence_by_its_definition(kind: str, sigma: float) -> None:
    marginals, true = random_marginals(kind), inside()
    expected = []
    for axes, logits in zip(axes_of(marginals), marginals, strict=True):
        p, q = logits.flatten(2).softmax(-1), gaussian(axes, true, sigma).flatten(2)
        m = (p + q) / 2
        expected.append(((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2 / (B * J))
    found = jensen_shannon(marginals, true, GaussianMarginals(sigma))
    assert found.item() == pytest.approx(sum(x.item() for x in expected) / 3, rel=1e-10)


def test_divergence_by_hand() -> None:
    """One axis of two cells with the truth in their middle: q = (1/2, 1/2), p = (1/4, 3/4), m = (3/8, 5/8)."""
    x = torch.tensor([[[0.0, math.log(3)]]], dtype=torch.float64)
    even = (torch.zeros(1, 1, 2, dtype=torch.float64),) * 2  # exactly their target
    p = 0.25 * math.log(2 / 3) + 0.75 * math.log(6 / 5)
    q = 0.5 * math.log(4 / 3) + 0.5 * math.log(4 / 5)
    found = jensen_shannon((x, *even), torch.zeros(1, 1, 3, dtype=torch.float64), GaussianMarginals())
    assert found.item() == pytest.approx((p + q) / 2 / 3)


@pytest.mark.parametrize("kind", KINDS)
def test_least_at_the_truth_and_log_2_where_nothing_is_shared(kind: str) -> None:
    true, target = inside(), GaussianMarginals(0.8)
    axes = PLANES if kind == "planes" else AXES
    a, b, c = (gaussian(each, true, 0.8).log() for each in axes)
    leaves = [logits.clone().requires_grad_() for logits in (a, b, c)]
    least = jensen_shannon((leaves[0], leaves[1], leaves[2]), true, target)
    assert least.item() == pytest.approx(0, abs=1e-12)
    assert all(gradient.abs().max() < 1e-12 for gradient in torch.autograd.grad(least, leaves))
    for seed in range(5):
        other = tuple(x + 0.3 * y for x, y in zip((a, b, c), random_marginals(kind, seed), strict=True))
        assert jensen_shannon((other[0], other[1], other[2]), true, target) > 1e-4
    far = one_hot(kind, {"x": 5, "y": 4, "z": 3})
    apart = jensen_shannon(far, centre_of({"x": 0, "y": 0, "z": 0}), GaussianMarginals(0.1))
    assert apart.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("kind", KINDS)
def test_sigma_is_in_cells_of_each_axis(kind: str) -> None:
    """All mass in a cell one beside the truth, on each axis: what the Gaussian has there decides, by hand."""
    target = GaussianMarginals(0.5)
    for axis in "xyz":
        cell = {"x": 2, "y": 2, "z": 1}
        moved = cell | {axis: cell[axis] + 1}
        found = jensen_shannon(one_hot(kind, cell), centre_of(moved), target).item()
        expected = []
        for axes in PLANES if kind == "planes" else AXES:
            q = gaussian(axes, centre_of(moved), 0.5)[(0, 0, *(cell[each] for each in axes))].item()
            expected.append((math.log(2 / (1 + q)) + q * math.log(2 * q / (1 + q)) + (1 - q) * math.log(2)) / 2)
        assert found == pytest.approx(sum(expected) / 3, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("x_norm", "counts"), [(-0.5, True), (0.499, True), (0.5, False), (-0.501, False), (9.0, False)]
)
def test_a_joint_on_the_border(kind: str, x_norm: float, counts: bool) -> None:
    """Outside on one axis: no divergence on any, but one of the joints in the mean; and no gradient."""
    marginals, true = random_marginals(kind), inside()
    true[1, 2, 0] = x_norm
    leaves = [logits.clone().requires_grad_() for logits in marginals]
    found = jensen_shannon((leaves[0], leaves[1], leaves[2]), true, GaussianMarginals())
    gradients = torch.autograd.grad(found, leaves)
    assert all(bool(gradient[1, 2].abs().sum() > 0) is counts for gradient in gradients)
    assert all(gradient[1, 1].abs().sum() > 0 for gradient in gradients)
    alone = [
        jensen_shannon(
            tuple(m[b : b + 1, j : j + 1] for m in marginals), true[b : b + 1, j : j + 1], GaussianMarginals()
        )
        for b, j in itertools.product(range(B), range(J))
    ]
    assert found.item() == pytest.approx(sum(x.item() for x in alone) / (B * J), rel=1e-12)
    assert (alone[-1].item() > 0) is counts


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree_with_finite_differences(kind: str) -> None:
    true = inside()
    leaves = [logits.requires_grad_() for logits in random_marginals(kind)]
    assert torch.autograd.gradcheck(lambda *m: jensen_shannon(m, true, GaussianMarginals()), leaves)
    assert torch.autograd.gradcheck(lambda *m: marginal_soft_argmax(m), leaves)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("height", [300.0, -300.0, 1e30])
def test_certain_heat_maps_of_low_precision_stay_finite(kind: str, dtype: torch.dtype, height: float) -> None:
    leaves = [m.to(dtype).requires_grad_() for m in one_hot(kind, {"x": 5, "y": 0, "z": 3}, height)]
    marginals = leaves[0], leaves[1], leaves[2]
    total = (
        jensen_shannon(marginals, torch.zeros(1, 1, 3), GaussianMarginals(0.2)) + marginal_soft_argmax(marginals).sum()
    )
    assert total.dtype == torch.float32
    assert total.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(total, leaves))


def test_axes_never_diverge_more_than_planes_nor_planes_more_than_the_volume() -> None:
    """Summing forgets: why a volume is compared by its planes and not by its axes."""
    volume = torch.randn(1, 1, D, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    true, p = centre_of({"x": 2, "y": 2, "z": 2}), volume.flatten().softmax(0).view(D, H, W)
    q = gaussian("zyx", true, 1.0)[0, 0]
    whole = ((p * (2 * p / (p + q)).log()).sum() + (q * (2 * q / (p + q)).log()).sum()).item() / 2
    by_planes = jensen_shannon(planes_of_volume(volume), true, GaussianMarginals()).item()
    axes = tuple(p.sum(others).log()[None, None] for others in ((0, 1), (0, 2), (1, 2)))
    by_axes = jensen_shannon((axes[0], axes[1], axes[2]), true, GaussianMarginals()).item()
    assert 0 < by_axes < by_planes < whole
