"""Axis terms: known answers, the mean pose of an untrained network, and their place in a checkpoint."""

from __future__ import annotations

import math

import pytest
import torch

from integral_pose.config.schema import Config
from integral_pose.heatmaps.heatmap_loss import CubeCrossEntropy, MarginalDivergence
from integral_pose.heatmaps.marginals import GaussianMarginals
from integral_pose.heatmaps.outputs import VolumeLogits
from integral_pose.heatmaps.reference import HeatmapTarget, with_axis_logits
from integral_pose.models.heads.axis_terms import AxisTerms, GaussianTerms, log_gaussians
from integral_pose.models.pose_net import build_network
from tests.conftest import STANDING_MM, build_network_of

SHAPE = (3, 4, 5)  # D, H, W
MEAN = torch.tensor([[0.1, -0.2, 0.05], [0.0, 0.0, 0.0], [-0.15, 0.1, 0.1]])
STD = torch.tensor([[0.1, 0.2, 0.15], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1]])


def make_config(**model):
    values = {"backbone": "resnet18", "deconv_channels": [8], "volume_depth": 16, "num_joints": 3, **model}
    data = {"root": "d", "image_size": [64, 96]}
    stages = [{"epochs": 1, "learning_rate": 1e-3}]
    return Config.model_validate({"run_dir": "r", "data": data, "model": values, "stages": stages})


def volume_of(terms, features):
    return with_axis_logits(torch.zeros(len(features), terms.num_joints, *SHAPE), terms(features))


def test_the_prior_by_hand():
    """A Gaussian up to a constant; its background, exp(0) in each of the 60 cells, is a hundredth of its mass."""
    terms = AxisTerms(2, SHAPE, log_gaussians(SHAPE, MEAN, STD))
    found = volume_of(terms, torch.randn(2, 2, 3, 3))
    assert found.shape == (2, 3, *SHAPE)

    def log_gaussian(z, y, x):
        centre = ((x + 0.5) / 5 - 0.5, (y + 0.5) / 4 - 0.5, (z + 0.5) / 3 - 0.5)
        return sum(-0.5 * ((c - m) / s) ** 2 for c, m, s in zip(centre, MEAN[0], STD[0], strict=True)).item()

    change = (found[1, 0, 1, 3, 0] - found[1, 0, 2, 1, 4]).item()
    assert change == pytest.approx(log_gaussian(1, 3, 0) - log_gaussian(2, 1, 4), rel=1e-5)
    assert found[1, 0].exp().sum().item() == pytest.approx(60 / 0.01, rel=1e-4)


def test_each_axis_has_a_term_of_its_own():
    """A weight of one cell along y moves the logits of that plane alone, by the mean of the features."""
    terms = AxisTerms(2, SHAPE, log_gaussians(SHAPE, MEAN, STD))
    features = torch.randn(2, 2, 3, 3)
    before = volume_of(terms, features)
    with torch.no_grad():
        terms.linear.weight.view(3, 12, 2)[1, 5 + 2, 0] = 1.0  # joint 1; behind the 5 cells of x the third of y
    change = volume_of(terms, features) - before
    expected = torch.zeros(2, 3, *SHAPE)
    expected[:, 1, :, 2, :] = features[:, 0].mean((-2, -1))[:, None, None]
    torch.testing.assert_close(change, expected)


def test_gaussian_terms_start_near_the_prior():
    """A weight of 0 is the prior; the first ones move the positions by 0.15 deviations, whatever the features' size."""
    terms = GaussianTerms(512, SHAPE, MEAN, STD)
    features = 30 * torch.rand(200, 512, 3, 3)
    moved = terms.linear(features.mean((-2, -1)) / features.mean((-2, -1)).square().mean(-1, keepdim=True).sqrt())
    assert moved.square().mean().sqrt().item() == pytest.approx(0.15, rel=0.5)
    torch.nn.init.zeros_(terms.linear.weight)
    prior = AxisTerms(512, SHAPE, log_gaussians(SHAPE, MEAN, STD))
    assert volume_of(terms, features[:2]).equal(volume_of(prior, features[:2]))


def test_gaussian_terms_move_by_deviations_of_the_labels():
    """By hand: joint 2, one deviation (0.1) along y for each unit of feature 0, of mean square 1; a half along z."""
    terms = GaussianTerms(2, SHAPE, MEAN, STD)
    with torch.no_grad():
        terms.linear.weight.zero_().view(3, 3, 2)[2, 1, 0] = 1.0
        terms.linear.bias.view(3, 3)[2, 2] = -0.5
    features = torch.randn(2, 2, 3, 3)
    _, y, z = terms(features)
    pooled = features.mean((-2, -1))
    for image, mean in enumerate(pooled[:, 0] / ((pooled[:, 0] ** 2 + pooled[:, 1] ** 2) / 2).sqrt()):
        for cells, own, at in ((4, y, 0.1 + 0.1 * mean), (3, z, 0.1 - 0.05)):
            centres = (torch.arange(cells) + 0.5) / cells - 0.5
            expected = (-0.5 * ((centres - at) / max(0.1, 0.32 / cells)) ** 2).softmax(0)
            torch.testing.assert_close(own[image, 2].softmax(0), expected)


def test_gaussian_terms_have_the_gradients_of_their_position():
    terms = GaussianTerms(2, SHAPE, MEAN, STD).double()
    weight = torch.randn_like(terms.linear.weight).requires_grad_()
    features = torch.randn(2, 2, 1, 1, dtype=torch.float64, requires_grad=True)

    def along(weight, features):
        return tuple(torch.func.functional_call(terms, {"linear.weight": weight}, features))

    assert torch.autograd.gradcheck(along, (weight, features))


def test_a_root_that_never_moves_has_a_finite_prior():
    found = volume_of(AxisTerms(2, SHAPE, log_gaussians(SHAPE, MEAN, STD)), torch.zeros(1, 2, 1, 1))
    assert found.isfinite().all()
    assert VolumeLogits(found).joints()[0, 1].abs().max() < 1e-6


def test_the_prior_is_not_rounded_to_bfloat16():
    terms = AxisTerms(2, SHAPE, log_gaussians(SHAPE, MEAN, STD))
    features = torch.randn(1, 2, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = terms(features)
    assert all(own.equal(expected) for own, expected in zip(found, terms(features), strict=True))


HEADS = {
    "4 cells": {"deconv_channels": [], "volume_depth": 8},
    "8 cells": {"deconv_channels": [8]},
    "16 cells": {"deconv_channels": [8, 8]},
    "debiased": {"decoder": "debiased"},
    "image volume": {"volume": "image"},
    "planes": {"head": "planes"},
    "axes": {"head": "axes"},
}


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("prior", [{"axis_terms": "linear"}, {"axis_terms": "gaussian"}, {"head_prior": "training"}])
def test_an_untrained_network_predicts_the_mean_pose(name, prior):
    """As good as the mean itself to 5 %, on people about as varied as real ones."""
    torch.manual_seed(0)
    mean = torch.tensor(STANDING_MM).float() / 2200 * 0.9
    std = torch.full((17, 3), 0.09)
    mean[0], std[0] = 0.0, 0.0
    config = make_config(**{"deconv_channels": [8], "num_joints": 17, **HEADS[name], **prior})
    network = build_network(config.model, (128, 128), 0, pretrained=False, statistics_norm=(mean, std)).eval()
    images = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    truth = mean + std * torch.randn(200, 17, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = network(images).joints()
    error = (truth[:, None] - found).norm(dim=-1).mean().item()
    assert error == pytest.approx((truth - mean).norm(dim=-1).mean().item(), rel=0.05)


@pytest.mark.parametrize(("model", "has_prior"), [
    ({}, False), ({"axis_terms": True}, True), ({"axis_terms": True, "head_prior": "none"}, False),
    ({"head_prior": "training"}, True), ({"axis_terms": "linear", "head_prior": "training"}, True),
    ({"axis_terms": "gaussian"}, True), ({"axis_terms": False}, False),
])  # fmt: skip
def test_where_there_is_a_prior(model, has_prior):
    assert make_config(**model).model.has_prior == has_prior


def test_gaussian_terms_need_the_statistics():
    with pytest.raises(ValueError, match="starts at the mean of the training labels, and head_prior is 'none'"):
        make_config(axis_terms="gaussian", head_prior="none")


@pytest.mark.usefixtures("tiny_backbone")
def test_gaussian_terms_are_whole_in_a_checkpoint():
    config = make_config(axis_terms="gaussian")
    network = build_network(config.model, (64, 96), 0, pretrained=False, statistics_norm=(MEAN, STD)).eval()
    torch.nn.init.normal_(network.head.axis_terms.linear.weight)
    again = build_network(config.model, (64, 96), 0, pretrained=False).eval()
    again.load_state_dict(network.state_dict())
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    assert again(images).joints().equal(network(images).joints())


@pytest.mark.usefixtures("tiny_backbone")
def test_axis_terms_without_a_prior_start_at_zero():
    config = make_config(axis_terms=True, head_prior="none")
    network = build_network(config.model, (64, 96), 0, pretrained=False, statistics_norm=(MEAN, STD))
    assert not network.head.axis_terms.linear.bias.any()


@pytest.mark.usefixtures("tiny_backbone")
def test_a_prior_alone_is_kept_and_not_trained():
    config = make_config(head_prior="training")
    network = build_network(config.model, (64, 96), 0, pretrained=False, statistics_norm=(MEAN, STD))
    assert not [name for name, _ in network.named_parameters() if "axis_terms" in name]
    again = build_network(config.model, (64, 96), 0, pretrained=False)
    again.load_state_dict(network.state_dict())
    assert again.head.axis_terms.prior.equal(log_gaussians((16, 4, 6), MEAN, STD))


@pytest.mark.usefixtures("tiny_backbone")
def test_without_them_nothing_changes():
    torch.manual_seed(0)
    plain = build_network_of(make_config()).state_dict()
    torch.manual_seed(0)
    other = build_network_of(make_config(axis_terms=True)).state_dict()
    assert other.keys() - plain.keys() == {"head.axis_terms.linear.weight", "head.axis_terms.linear.bias"}
    assert torch.equal(plain["backbone.layers.0.weight"], other["backbone.layers.0.weight"])


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize("terms", ["linear", "gaussian"])
def test_gradients_reach_both(terms):
    dtype = torch.float64
    head = build_network_of(make_config(axis_terms=terms)).head.to(dtype)
    output = head(torch.randn(2, 32, 2, 3, dtype=dtype))
    output.joints().square().sum().backward()
    assert head.axis_terms.linear.weight.grad.abs().max() > 0
    assert head.to_volume.weight.grad.abs().max() > 0


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize("decoder", ["soft_argmax", "debiased"])
@pytest.mark.parametrize("loss", [CubeCrossEntropy(HeatmapTarget()), MarginalDivergence(GaussianMarginals())])
def test_decoders_and_heat_map_losses_see_the_sum(decoder, loss):
    """As of a network whose volume holds the terms."""
    head = build_network_of(make_config(axis_terms=True, decoder=decoder)).head
    torch.nn.init.normal_(head.axis_terms.linear.weight)
    output = head(torch.randn(2, 32, 2, 3))
    whole = VolumeLogits(output.summed(), output.debiased)
    true_norm = torch.rand(2, 3, 3) - 0.5
    for found, expected in zip(
        output.joints_and_heatmap_loss(true_norm, loss), whole.joints_and_heatmap_loss(true_norm, loss), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.joints(), whole.joints(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.confidence(3.0), whole.confidence(3.0))
    assert output.probabilities(1, 2)["yx"].equal(whole.probabilities(1, 2)["yx"])
    assert output.tensors().keys() == {"logits", "x", "y", "z"}


@pytest.mark.parametrize("model", [{"axis_terms": "gaussian"}, {"head_prior": "training"}])
def test_regression_has_neither(model):
    with pytest.raises(ValueError, match="which head 'regression', which starts at the mean pose anyway, does not use"):
        make_config(head="regression", **model)


def test_the_prior_is_a_gaussian_of_the_statistics():
    x, _, _ = AxisTerms(1, (64, 64, 64), log_gaussians((64, 64, 64), torch.zeros(1, 3), torch.full((1, 3), 0.1)))(
        torch.zeros(1, 1, 1, 1)
    )
    centres = (torch.arange(64) + 0.5) / 64 - 0.5
    assert math.sqrt((x.detach()[0, 0].softmax(0) * centres**2).sum()) == pytest.approx(0.1, rel=1e-3)
