"""Places drawn from heat maps, by their distribution, and the breadth of heat maps by hand."""

import pytest
import torch

from integral_pose.contracts import AxisLogits
from integral_pose.heatmaps.marginals import planes_of_volume
from integral_pose.heatmaps.outputs import Coordinates, MarginalLogits, VolumeLogits
from integral_pose.heatmaps.sampling import draw_joints
from integral_pose.heatmaps.uncertain_output import UncertainOutput
from integral_pose.heatmaps.variance import VarianceLoss, marginal_variance

SHAPE = (3, 4, 5)  # D, H, W


def test_one_cell_is_drawn_from_with_a_triangular_kernel():
    """All mass in one cell: the draws' mean is its centre, their variance along an axis a sixth of a cell squared."""
    torch.manual_seed(0)
    logits = torch.full((20_000, 1, *SHAPE), -100.0)
    logits[:, :, 2, 0, 3] = 100.0
    drawn = draw_joints(VolumeLogits(logits))[:, 0]
    centre, cell = torch.tensor([3.5 / 5 - 0.5, 0.5 / 4 - 0.5, 2.5 / 3 - 0.5]), torch.tensor([1 / 5, 1 / 4, 1 / 3])
    away = (drawn - centre) / cell
    assert away.abs().max() < 1
    assert away.mean(0).abs().max() < 0.01
    assert away.var(0) == pytest.approx(1 / 6, rel=0.03)
    assert (away.abs() < 0.5).float().mean(0) == pytest.approx(0.75, abs=0.01)  # of a triangle 3/4 lie in its middle


def test_cells_are_drawn_by_their_probability():
    """Two cells of 3 and 1 quarters of the mass, far apart: the nearer to the first, three times of four."""
    torch.manual_seed(0)
    logits = torch.full((4000, 1, 2, 2, 8), -200.0)
    logits[..., 0, 0, 0], logits[..., 0, 0, 7] = torch.tensor(3.0).log(), 0.0
    drawn = draw_joints(VolumeLogits(logits))[:, 0, 0]
    assert (drawn < 0).float().mean() == pytest.approx(0.75, abs=0.025)


def test_drawing_has_gradients_and_repeats_with_the_generator():
    logits = torch.randn(1, 2, 2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def draw(values):
        torch.manual_seed(5)
        return draw_joints(VolumeLogits(values))

    assert torch.equal(draw(logits), draw(logits))
    assert torch.autograd.gradcheck(draw, logits.requires_grad_())
    assert draw_joints(VolumeLogits(logits.detach().bfloat16())).dtype == torch.float32


def test_variance_by_hand():
    """Half of the mass in each of two neighbouring cells along x: a quarter of a cell squared; none along y and z."""
    logits = torch.full((1, 1, *SHAPE), -200.0, dtype=torch.float64)
    logits[..., 1, 2, 3:] = 0.0
    volume, planes = VolumeLogits(logits), MarginalLogits(planes_of_volume(logits))
    axes = MarginalLogits((torch.tensor([[[-200.0, -200, -200, 0, 0]]]), *logits.new_full((2, 1, 1, 1), 0.0)))
    expected = torch.tensor([0.25 / 5**2, 0, 0], dtype=torch.float64)
    assert torch.allclose(marginal_variance(planes_of_volume(logits))[0, 0], expected)
    assert torch.allclose(marginal_variance(axes.marginals)[0, 0, 0].double(), expected[0])
    by_hand = (0.25 / 5**2 - (0.5 / 5) ** 2) ** 2 + (0.5 / 4) ** 4 + (0.5 / 3) ** 4
    assert VarianceLoss(0.5)(volume).item() == pytest.approx(by_hand)
    assert VarianceLoss(0.5)(planes).item() == pytest.approx(by_hand)
    scale = torch.ones(1, 1, 3)
    assert VarianceLoss(0.5)(UncertainOutput(volume, scale, scale)).item() == pytest.approx(by_hand)


def test_a_flat_axis_has_a_twelfth_less_that_of_the_cells():
    variance = marginal_variance((torch.zeros(1, 1, 5), torch.zeros(1, 1, 4), torch.zeros(1, 1, 3)))[0, 0]
    assert variance.tolist() == pytest.approx([(1 - 1 / n**2) / 12 for n in (5, 4, 3)])


def test_gradients_of_the_variance_loss():
    logits = torch.randn(1, 2, 2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(lambda x: VarianceLoss(1.0)(VolumeLogits(x)), logits.requires_grad_())


def test_no_heat_maps_have_no_variance():
    with pytest.raises(ValueError, match="no heat maps"):
        VarianceLoss(1.0)(Coordinates(torch.zeros(1, 1, 3)))


def test_the_variance_is_of_the_logits_with_those_along_the_axes():
    axis_logits = AxisLogits(*(torch.randn(2, 3, cells) for cells in (6, 5, 4)))
    output = VolumeLogits(torch.randn(2, 3, 4, 5, 6), axis_logits=axis_logits)
    torch.testing.assert_close(VarianceLoss(1.0)(output), VarianceLoss(1.0)(VolumeLogits(output.summed())))
