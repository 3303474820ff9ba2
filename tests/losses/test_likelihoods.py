"""Losses with a predicted scale: by hand, their slopes against the distance's, and where their scales go."""

import math

import pytest
import torch

from integral_pose.config.loss_section import LossConfig
from integral_pose.contracts import PoseBatch
from integral_pose.geometry.coordinates import MetricVolume
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.heatmaps.uncertain_output import UncertainOutput
from integral_pose.losses import LossWeights, build_criterion
from integral_pose.losses.coordinate_losses import euclidean
from integral_pose.losses.residual_likelihood import ResidualLikelihood
from integral_pose.losses.scaled_distance import beta_nll
from integral_pose.models.residual_flow import ResidualFlow


def double(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def standard_normal(values):
    return -0.5 * (values * values).sum(-1) - 1.5 * math.log(2 * math.pi)


def test_beta_nll_by_hand():
    """Distances 0.5 and 0 at the scales 0.1 and 0.2."""
    predicted, true = torch.zeros(2, 2, 1, 3, dtype=torch.float64)
    predicted[0, 0] = torch.tensor([0.3, 0.0, -0.4])
    scale = torch.tensor([0.1, 0.2], dtype=torch.float64)[:, None, None]
    volume = math.log(8 * math.pi)
    expected = (0.1 * (5 + 3 * math.log(0.1) + volume) + 0.2 * (3 * math.log(0.2) + volume)) / 2
    assert beta_nll(predicted, true, scale).item() == pytest.approx(expected, rel=1e-6)


def test_the_density_of_beta_nll_fills_space():
    """exp(-loss) without the weight, integrated over shells of all radii: 1; the radius' mean is 3 b."""
    scale, radius = 0.2, torch.linspace(1e-6, 8, 3_000, dtype=torch.float64)
    far = torch.zeros(len(radius), 1, 3, dtype=torch.float64)
    far[:, 0, 2] = radius
    likelihood = torch.stack([-beta_nll(one[None], torch.zeros(1, 1, 3), torch.full((1, 1, 1), scale)) for one in far])
    density = (likelihood / scale).exp() * 4 * math.pi * radius**2
    assert torch.trapezoid(density, radius).item() == pytest.approx(1, abs=1e-5)
    assert torch.trapezoid(density * radius, radius).item() == pytest.approx(3 * scale, abs=1e-5)
    assert torch.trapezoid(density * radius**2 / 3, radius).item() == pytest.approx((2 * scale) ** 2, abs=1e-5)


def test_the_slope_of_beta_nll_in_the_coordinates_is_that_of_the_distance():
    true, scale = double(4, 5, 3, seed=1), double(4, 5, 1, seed=2).exp()
    slopes = []
    for loss in (lambda joints: beta_nll(joints, true, scale), lambda joints: euclidean(joints, true)):
        joints = double(4, 5, 3).requires_grad_()
        loss(joints).backward()
        slopes.append(joints.grad)
    torch.testing.assert_close(*slopes)


def test_the_scale_of_beta_nll_goes_to_a_third_of_the_mean_distance():
    distance = double(1000, seed=3).exp()
    predicted = torch.zeros(1000, 1, 3, dtype=torch.float64)
    predicted[:, 0, 1] = distance
    scale = (distance.mean() / 3).clone().requires_grad_()
    beta_nll(predicted, torch.zeros_like(predicted), scale.expand(1000, 1, 1)).backward()
    assert abs(scale.grad.item()) < 1e-12
    for factor, sign in ((0.5, -1), (2.0, 1)):
        other = (factor * distance.mean() / 3).clone().requires_grad_()
        beta_nll(predicted, torch.zeros_like(predicted), other.expand(1000, 1, 1)).backward()
        assert other.grad.item() * sign > 0


def test_residual_likelihood_by_hand():
    """The root has its L1 distance; the other joint a Laplace and, from a flow that is the identity, a normal."""
    predicted, true = torch.zeros(2, 1, 2, 3, dtype=torch.float64)
    predicted[0, 0] = torch.tensor([0.1, -0.2, 0])
    true[0, 1] = torch.tensor([0.3, 0, -0.4])
    scale = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64).expand(1, 2, 3)
    loss = ResidualLikelihood(ResidualFlow().double().log_density, root=0)(predicted, true, scale)
    logarithms = math.log(0.1) + math.log(0.2) + math.log(0.4)
    laplace = 3 * math.log(2) + logarithms + 3 + 0 + 1
    normal = logarithms + (3**2 + 1**2) / 2 + 1.5 * math.log(2 * math.pi)
    assert loss.item() == pytest.approx((0.3 + laplace + normal) / 2, rel=1e-6)


def test_gradients_of_likelihoods():
    flow = ResidualFlow().double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    true = double(2, 3, 3, seed=1)
    likelihood = ResidualLikelihood(flow.log_density, root=1)
    inputs = double(2, 3, 3).requires_grad_(), (1 + double(2, 3, 3, seed=2).abs()).requires_grad_()
    assert torch.autograd.gradcheck(lambda joints, scale: likelihood(joints, true, scale), inputs)
    # The weight of beta_nll is held fixed, which differences cannot see: its logarithm's slope is 3 b - distance.
    joints, scale = double(2, 3, 3).requires_grad_(), inputs[1].detach()[..., :1].requires_grad_()
    assert torch.autograd.gradcheck(lambda joints: beta_nll(joints, true, scale.detach()), joints)
    beta_nll(joints, true, scale).backward()
    distance = (joints - true).norm(dim=-1, keepdim=True)
    torch.testing.assert_close(scale.grad * scale, (3 * scale - distance) / 6)


def test_the_root_has_no_say_in_the_residual_likelihood_but_its_distance():
    scale = torch.ones(1, 2, 3, dtype=torch.float64).requires_grad_()
    predicted = double(1, 2, 3).requires_grad_()
    ResidualLikelihood(standard_normal, root=1)(predicted, torch.zeros_like(predicted), scale).backward()
    assert scale.grad[:, 1].abs().max() == 0
    torch.testing.assert_close(predicted.grad[:, 1], predicted[:, 1].sign() / 2)


@pytest.mark.parametrize("joints", ["beta_nll", "rle"])
def test_the_configured_likelihood_is_taken_with_the_scale_of_the_output(joints):
    space = MetricVolume(2000.0, root=0)
    criterion = build_criterion(LossConfig(joints=joints), space, standard_normal)
    predicted, scale = torch.rand(2, 3, 3), 0.1 + torch.rand(2, 3, 1 if joints == "beta_nll" else 3)
    batch = PoseBatch(torch.arange(2), torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 3), torch.zeros(2, 3, 2))
    result = criterion(UncertainOutput(Coordinates(predicted), scale, scale), batch, LossWeights(1.0, 0.0))
    loss = beta_nll if joints == "beta_nll" else ResidualLikelihood(standard_normal, 0)
    assert result.total == pytest.approx(loss(predicted, torch.zeros(2, 3, 3), scale).item())
    with pytest.raises(ValueError, match="model.uncertainty"):
        criterion(Coordinates(predicted), batch, LossWeights(1.0, 0.0))


def test_residual_likelihood_asks_for_a_flow():
    with pytest.raises(ValueError, match="set model.uncertainty to flow"):
        build_criterion(LossConfig(joints="rle"), MetricVolume(2000.0, root=0))
