"""A pose laid over a labelled one by the ratio of spreads: by hand, with gaps, and its gradient."""

import pytest
import torch

from integral_pose.geometry.flat_alignment import align_flat


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def test_by_hand():
    """The ratio is sqrt(2 (10^2 + 1) / (2 100^2)); least squares would give 0.1."""
    aligned = align_flat(double([[[-100.0, 0], [100, 0]]]), double([[[-10.0, 0], [10, 2]]]))
    torch.testing.assert_close(aligned, double([[[-10.0499, 1], [10.0499, 1]]]), atol=1e-4, rtol=0)
    assert (aligned - double([[[-10.0, 0], [10, 2]]])).abs().mean().item() == pytest.approx(0.524938, abs=1e-6)


def test_a_pose_of_another_scale_and_place_fits():
    triangle = double([[[3.0, 5], [-40, 8], [11, -70]]])
    torch.testing.assert_close(align_flat(triangle, 0.1 * triangle + 10), 0.1 * triangle + 10)


def test_one_joint_is_moved_and_none_makes_no_nan():
    predicted = double([[[3.0, 5], [8, 8]], [[3.0, 5], [8, 8]], [[4.0, 4], [4, 4]]]).requires_grad_()
    true = double([[[1.0, 2], [torch.nan, torch.nan]], [[torch.nan] * 2] * 2, [[1.0, 1], [3, 5]]])
    aligned = align_flat(predicted, true)
    assert aligned[0, 0].tolist() == [1, 2]
    assert aligned[2].tolist() == [[2, 3], [2, 3]]  # without spread: the middle of the label
    assert torch.isfinite(aligned).all()
    aligned.sum().backward()
    assert torch.isfinite(predicted.grad).all()


def test_gradient_and_joints_without_label():
    predicted = torch.randn(2, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    true = torch.randn(2, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    true[0, 2] = torch.nan
    known = torch.isfinite(true)
    assert torch.autograd.gradcheck(lambda p: align_flat(p, true)[known], predicted)
    moved = predicted.detach().clone()
    moved[0, 2] += 100
    torch.testing.assert_close(align_flat(moved, true)[known], align_flat(predicted.detach(), true)[known])
