"""Axis terms: known answers, the mean pose of an untrained network, and their place in a checkpoint."""

from __future__ import annotations

import math

import pytest
import torch

from integral_pose.config.schema import Config
from integral_pose.heatmaps.outputs import VolumeLogits
from integral_pose.models.heads.axis_terms import AxisTerms
from integral_pose.models.pose_net import build_network
from tests.conftest import build_network_of

SHAPE = (3, 4, 5)  # D, H, W
MEAN = torch.tensor([[0.1, -0.2, 0.05], [0.0, 0.0, 0.0], [-0.15, 0.1, 0.1]])
STD = torch.tensor([[0.1, 0.2, 0.15], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1]])


def make_config(**model):
    values = {"backbone": "resnet18", "deconv_channels": [8], "volume_depth": 16, "num_joints": 3, **model}
    data = {"root": "d", "image_size": [64, 96]}
    stages = [{"epochs": 1, "learning_rate": 1e-3}]
    return Config.model_validate({"run_dir": "r", "data": data, "model": values, "stages": stages})


def test_the_terms_by_hand():
    terms = AxisTerms(2, SHAPE, MEAN, STD)
    found = terms(torch.randn(2, 2, 3, 3))
    assert found.shape == (2, 3, *SHAPE)
    z, y, x = (i + 0.5 for i in (1, 3, 0))
    centre = (x / 5 - 0.5, y / 4 - 0.5, z / 3 - 0.5)
    expected = sum(-0.5 * ((c - m) / s) ** 2 for c, m, s in zip(centre, MEAN[0], STD[0], strict=True))
    assert found[1, 0, 1, 3, 0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_each_axis_has_a_term_of_its_own():
    """A weight of one cell along y moves the logits of that plane alone, by the mean of the features."""
    terms = AxisTerms(2, SHAPE, MEAN, STD)
    features = torch.randn(2, 2, 3, 3)
    before = terms(features)
    with torch.no_grad():
        terms.linear.weight.view(3, 12, 2)[1, 5 + 2, 0] = 1.0  # joint 1; behind the 5 cells of x the third of y
    change = terms(features) - before
    expected = torch.zeros(2, 3, *SHAPE)
    expected[:, 1, :, 2, :] = features[:, 0].mean((-2, -1))[:, None, None]
    torch.testing.assert_close(change, expected)


def test_a_root_that_never_moves_has_a_finite_prior():
    found = AxisTerms(2, SHAPE, MEAN, STD)(torch.zeros(1, 2, 1, 1))
    assert found.isfinite().all()
    assert VolumeLogits(found).joints()[0, 1].abs().max() < 1e-6


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize("cells", [(), (8,), (8, 8)])
def test_an_untrained_network_predicts_the_mean_pose(cells):
    torch.manual_seed(0)
    mean_mm, std_mm = MEAN * 2200, STD * 2200
    config = make_config(axis_terms=True, deconv_channels=list(cells))
    network = build_network(config.model, (256, 256), 0, pretrained=False, statistics_mm=(mean_mm, std_mm)).eval()
    images = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8)
    truth_mm = mean_mm + std_mm * torch.randn(200, 3, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pose_mm = network(images).joints() * 2200
    error_mm = (truth_mm[:, None] - pose_mm).norm(dim=-1).mean().item()
    assert error_mm == pytest.approx((truth_mm - mean_mm).norm(dim=-1).mean().item(), rel=0.05)


@pytest.mark.usefixtures("tiny_backbone")
def test_without_them_nothing_changes():
    torch.manual_seed(0)
    plain = build_network_of(make_config()).state_dict()
    torch.manual_seed(0)
    other = build_network_of(make_config(axis_terms=True)).state_dict()
    assert other.keys() - plain.keys() == {"head.axis_terms.linear.weight", "head.axis_terms.linear.bias"}
    assert torch.equal(plain["backbone.layers.0.weight"], other["backbone.layers.0.weight"])


@pytest.mark.usefixtures("tiny_backbone")
def test_gradients_reach_both():
    dtype = torch.float64
    head = build_network_of(make_config(axis_terms=True)).head.to(dtype)
    output = head(torch.randn(2, 32, 2, 3, dtype=dtype))
    output.joints().square().sum().backward()
    assert head.axis_terms.linear.weight.grad.abs().max() > 0
    assert head.to_volume.weight.grad.abs().max() > 0


@pytest.mark.parametrize("model", [{"head": "planes"}, {"volume": "image"}, {"head": "regression"}])
def test_what_has_no_axis_terms(model):
    with pytest.raises(ValueError, match="axis_terms is true, which is for head 'volumetric' with volume 'metric'"):
        make_config(axis_terms=True, **model)


def test_the_prior_is_a_gaussian_of_the_statistics():
    terms = AxisTerms(1, (64, 64, 64), torch.zeros(1, 3), torch.full((1, 3), 0.1))
    probability = terms(torch.zeros(1, 1, 1, 1)).detach()[0, 0].flatten().softmax(0).view(64, 64, 64)
    along_x = probability.sum((0, 1))
    centres = (torch.arange(64) + 0.5) / 64 - 0.5
    assert math.sqrt((along_x * centres**2).sum()) == pytest.approx(0.1, rel=1e-3)
