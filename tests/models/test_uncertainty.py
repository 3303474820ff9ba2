"""Scales of a network's errors: what they begin as, the flow's density and spread, and what a network is without."""

import math

import pytest
import torch

from integral_pose.config.schema import ModelConfig
from integral_pose.geometry.coordinates import ImageVolume, MetricVolume, StandardisedPose
from integral_pose.heatmaps.outputs import Coordinates, VolumeLogits
from integral_pose.heatmaps.uncertain_output import UncertainOutput, deviation_of
from integral_pose.models.pose_net import build_network
from integral_pose.models.residual_flow import ResidualFlow
from integral_pose.models.uncertainty import SMALLEST_SCALE, JointScale

SMALL = {"backbone": "resnet18", "deconv_channels": [8], "volume_depth": 4}


def trained_flow():
    flow = ResidualFlow().double()
    generator = torch.Generator().manual_seed(0)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.15, generator=generator)
    return flow


def test_an_untrained_flow_is_a_standard_normal_distribution():
    flow, values = ResidualFlow(), torch.randn(5, 3)
    expected = -0.5 * (values * values).sum(-1) - 1.5 * math.log(2 * math.pi)
    torch.testing.assert_close(flow.log_density(values), expected)
    torch.testing.assert_close(flow(values), values)
    torch.testing.assert_close(flow.standard_deviation(), torch.ones(3))


def test_the_density_of_a_flow_is_that_of_what_it_makes():
    """By the change of variables with the Jacobian from autograd."""
    flow, normal = trained_flow(), torch.tensor([0.4, -1.2, 0.3], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(flow, normal)
    expected = -0.5 * (normal @ normal) - 1.5 * math.log(2 * math.pi) - jacobian.det().abs().log()
    assert flow.log_density(flow(normal)).item() == pytest.approx(expected.item(), rel=1e-9)


def test_the_spread_of_a_flow_is_that_of_many_draws():
    flow = trained_flow()
    normal = torch.randn(20_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(flow.standard_deviation(), flow(normal).std(0), rtol=0.02, atol=0)


@pytest.mark.parametrize("axes", [1, 3])
def test_every_image_has_one_scale_at_first(axes):
    layer = JointScale(8, 17, first_scale=0.1, flow=None if axes == 1 else ResidualFlow())
    scale, deviation = layer(torch.randn(2, 8, 3, 3))
    torch.testing.assert_close(scale, torch.full((2, 17, axes), 0.1 + SMALLEST_SCALE))
    torch.testing.assert_close(deviation, scale.expand(2, 17, 3) * (2 if axes == 1 else 1))


def test_scales_stay_above_0_and_in_float32_under_autocast():
    layer = JointScale(8, 2, first_scale=0.1)
    torch.nn.init.constant_(layer.linear.bias, -1000.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scale, _ = layer(torch.randn(1, 8, 1, 1))
    assert scale.dtype == torch.float32
    assert scale.min() == SMALLEST_SCALE


def test_deviations_in_mm():
    deviation = torch.tensor([[[9.0, 9, 9], [0.01, 0.02, 0.02]]])
    assert MetricVolume(2000.0, root=0).deviation_mm(deviation)[0].tolist() == pytest.approx([0, 20 * math.sqrt(3)])
    std_mm = torch.tensor([[0.0, 0, 0], [100, 200, 300]])
    expected = math.sqrt((1 + 16 + 36) / 3)
    assert StandardisedPose(std_mm, std_mm, root=0).deviation_mm(deviation)[0].tolist() == pytest.approx([0, expected])
    with pytest.raises(ValueError, match="does not say how many mm"):
        ImageVolume(2000.0, 64, 64, root=0).deviation_mm(deviation)


@pytest.mark.parametrize(("head", "kind"), [("volumetric", "scale"), ("regression", "flow")])
def test_a_network_with_uncertainty_is_the_one_without_and_a_layer_more(head, kind):
    """The same draws for backbone and head, the same joints, and the layer's weights in the state dict."""
    networks = []
    for uncertainty in ("none", kind):
        torch.manual_seed(0)
        model = ModelConfig(head=head, uncertainty=uncertainty, **SMALL)
        networks.append(build_network(model, (32, 32), 0, pretrained=False).eval())
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    plain, uncertain = (network(images) for network in networks)
    assert isinstance(plain, VolumeLogits if head == "volumetric" else Coordinates)
    assert isinstance(uncertain, UncertainOutput)
    torch.testing.assert_close(uncertain.joints(), plain.joints(), rtol=0, atol=0)
    assert deviation_of(plain) is None
    assert deviation_of(uncertain).shape == (2, 17, 3)
    added = networks[1].state_dict().keys() - networks[0].state_dict().keys()
    assert all(name.startswith("uncertainty.") for name in added)
    assert len(added) == 2 + (kind == "flow") * 2 * 6 * 6
