"""Losses against answers worked by hand, at the border of the volume, and by their gradients."""

import math
from functools import partial

import pytest
import torch

from integral_pose.config.loss_section import HeatmapConfig, LossConfig
from integral_pose.contracts import PoseBatch
from integral_pose.experiment.model import mean_distance_mm
from integral_pose.geometry.coordinates import MetricVolume, StandardisedPose
from integral_pose.heatmaps import heatmap_loss
from integral_pose.heatmaps.marginals import GaussianMarginals, jensen_shannon, planes_of_volume
from integral_pose.heatmaps.outputs import Coordinates, MarginalLogits, VolumeLogits
from integral_pose.losses import LossWeights, build_criterion
from integral_pose.losses.coordinate_losses import JOINT_LOSSES, SMOOTH_BELOW, l1

SPACE = MetricVolume(2000.0, root=0)
SHAPE = (3, 4, 5)  # D, H, W


def make_batch(joints_mm):
    number = len(joints_mm)
    images = torch.zeros(number, 3, 32, 32, dtype=torch.uint8)
    return PoseBatch(torch.arange(number), images, joints_mm, torch.zeros(*joints_mm.shape[:2], 2))


def make_loss(integral=1.0, heatmap=0.0, space=SPACE, **heatmap_options):
    criterion = build_criterion(LossConfig(heatmap=HeatmapConfig(**heatmap_options)), space)
    return partial(criterion, weights=LossWeights(integral, heatmap))


def make_logits(seed=0, dtype=torch.float64):
    return torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def labels(seed=1, largest_mm=800.0):
    joints_mm = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5
    return (joints_mm - joints_mm[:, :1]) * largest_mm


def test_integral_loss_by_hand():
    """Flat heat maps say (0, 0, 0): the loss is the mean absolute label, in units of the volume."""
    joints_mm = torch.zeros(2, 3, 3)
    joints_mm[0, 1] = torch.tensor([200.0, -400, 0])
    joints_mm[1, 2] = torch.tensor([0.0, 0, 1800])  # outside of the volume, which ends at 1000
    batch = make_batch(joints_mm)
    result = make_loss(integral=3.0)(VolumeLogits(torch.zeros(2, 3, *SHAPE)), batch)
    expected = (0.1 + 0.2 + 0.9) / 18
    assert result.terms.keys() == {"integral"}
    assert result.terms["integral"] == pytest.approx(expected)
    assert result.total == pytest.approx(3 * expected)
    assert mean_distance_mm(result.joints, batch, SPACE) == pytest.approx((math.hypot(200, 400) + 1800) / 6)


def test_l1_by_hand():
    assert l1(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])) == 1.5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", (0.3 + 0.4 + 0.005) / 6),
        ("smooth_l1", (0.3 + 0.4 - 2 * SMOOTH_BELOW / 2 + 0.005**2 / 2 / SMOOTH_BELOW) / 6),
        ("l2", (0.3**2 + 0.4**2 + 0.005**2) / 6),
        ("euclidean", (0.5 + 0.005) / 2),
    ],
)
def test_joint_losses_by_hand(name, expected):
    true = torch.zeros(2, 1, 3, dtype=torch.float64)
    predicted = torch.tensor([[[0.3, -0.4, 0]], [[0, 0, 0.005]]], dtype=torch.float64)
    assert JOINT_LOSSES[name](predicted, true).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", JOINT_LOSSES)
def test_joint_losses_have_gradients_everywhere(name):
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randn(2, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    true = torch.randn(2, 3, 3, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(lambda joints: JOINT_LOSSES[name](joints, true), predicted)
    at_truth = true.clone().requires_grad_()
    JOINT_LOSSES[name](at_truth, true).backward()
    assert at_truth.grad.abs().max() == 0


def test_the_configured_joint_loss_is_taken():
    joints_mm = torch.zeros(1, 2, 3)
    joints_mm[0, 1] = torch.tensor([600.0, 800.0, 0])  # 0.5 of the volume's side away
    criterion = build_criterion(LossConfig(joints="euclidean"), SPACE)
    result = criterion(VolumeLogits(torch.zeros(1, 2, *SHAPE)), make_batch(joints_mm), LossWeights(1.0, 0.0))
    assert result.terms["integral"] == pytest.approx(0.5 / 2)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_heat_map_loss_by_hand(reduction):
    """Flat heat maps of n voxels, a one-hot target: -log(1/n) at the joint, -log(1 - 1/n) everywhere else."""
    n = math.prod(SHAPE)
    joints_mm = torch.zeros(2, 3, 3)
    joints_mm[1, 2, 1] = -1001.0  # just outside: counts as 0, but is one of the 6 in the mean
    loss = make_loss(integral=0.0, heatmap=2.0, target="one_hot", reduction=reduction)
    result = loss(VolumeLogits(torch.zeros(2, 3, *SHAPE)), make_batch(joints_mm))
    per_joint = math.log(n) - (n - 1) * math.log(1 - 1 / n)
    expected = per_joint * 5 / 6 / (n if reduction == "mean" else 1)
    assert result.terms.keys() == {"heatmap"}
    assert result.terms["heatmap"] == pytest.approx(expected, rel=1e-5)
    assert result.total == pytest.approx(2 * expected, rel=1e-5)


@pytest.mark.parametrize(("peak", "height"), [("equation", 1 / math.sqrt(2 * math.pi)), ("prose", 1.0)])
def test_gaussian_target_by_hand(peak, height):
    """A cube of radius 1 in the corner: 8 of its 27 voxels are inside, exp(-d^2 / 2) high."""
    n = math.prod(SHAPE)
    joints_mm = torch.full((1, 1, 3), -999.0)
    loss = make_loss(integral=0.0, heatmap=1.0, peak=peak, radius=1)
    result = loss(VolumeLogits(torch.zeros(1, 1, *SHAPE)), make_batch(joints_mm))
    mass = height * sum(math.exp(-d / 2) for d in (0, 1, 1, 1, 2, 2, 2, 3))
    expected = mass * math.log(n) - (n - mass) * math.log(1 - 1 / n)
    assert result.terms["heatmap"] == pytest.approx(expected, rel=1e-5)


def test_both_terms_are_weighted_and_summed():
    output, batch = VolumeLogits(make_logits()), make_batch(labels())
    result = make_loss(integral=0.5, heatmap=0.25)(output, batch)
    assert result.total == pytest.approx(0.5 * result.terms["integral"].item() + 0.25 * result.terms["heatmap"].item())
    assert not any(term.requires_grad for term in result.terms.values())


def test_a_term_of_weight_0_is_not_computed(monkeypatch):
    def not_called(*_, **__):
        raise AssertionError("computed")

    output, batch = VolumeLogits(make_logits()), make_batch(labels())
    monkeypatch.setattr(heatmap_loss, "soft_argmax_and_heatmap_loss", not_called)
    make_loss(heatmap=0.0)(output, batch)
    with pytest.raises(AssertionError, match="computed"):
        make_loss(heatmap=1e-9)(output, batch)
    monkeypatch.undo()
    monkeypatch.setitem(JOINT_LOSSES, "l1", not_called)
    assert "integral" not in make_loss(integral=0.0, heatmap=1.0)(output, batch).terms
    with pytest.raises(AssertionError, match="computed"):
        make_loss(integral=1e-9)(output, batch)


@pytest.mark.parametrize("outside", [False, True])
def test_gradients(outside):
    joints_mm = labels()
    if outside:
        joints_mm[1, 2, 0] = 1500.0
    batch, loss = make_batch(joints_mm), make_loss(integral=1.0, heatmap=0.3)
    logits = make_logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(VolumeLogits(x), batch).total, logits)


def test_a_joint_outside_keeps_its_integral_gradient_and_has_no_heat_map_gradient():
    joints_mm = labels()
    joints_mm[1, 2, 0] = 1500.0
    for loss, has_gradient in ((make_loss(integral=0.0, heatmap=1.0), False), (make_loss(integral=1.0), True)):
        logits = make_logits().requires_grad_()
        loss(VolumeLogits(logits), make_batch(joints_mm)).total.backward()
        assert bool(logits.grad[1, 2].abs().sum() > 0) is has_gradient
        assert logits.grad[1, 1].abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_hot_heat_maps_of_low_precision_stay_finite(dtype):
    logits = torch.full((1, 2, *SHAPE), -300.0).to(dtype)
    logits[..., 2, 3, 4] = 300.0
    logits.requires_grad_()
    result = make_loss(heatmap=1.0)(VolumeLogits(logits), make_batch(torch.zeros(1, 2, 3)))
    result.total.backward()
    assert math.isfinite(result.total.item())
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("cell", [(1, 2, 2), (0, 3, 4)])
def test_least_at_the_truth(cell):
    """Of all one-hot volumes the right one costs least, in either term, and the farther the dearer along an axis."""
    z, y, x = ((i + 0.5) / n - 0.5 for i, n in zip(cell, SHAPE, strict=True))
    batch = make_batch(torch.tensor([[[x, y, z]]], dtype=torch.float64) * 2000)
    for loss in (make_loss(), make_loss(integral=0.0, heatmap=1.0, target="one_hot")):
        cost = {}
        for flat in range(math.prod(SHAPE)):
            logits = torch.zeros(1, 1, math.prod(SHAPE), dtype=torch.float64)
            logits[..., flat] = 20.0
            at = (flat // 20, flat // 5 % 4, flat % 5)
            cost[at] = loss(VolumeLogits(logits.view(1, 1, *SHAPE)), batch).total.item()
        assert min(cost, key=cost.__getitem__) == cell
    integral = make_loss()
    steps = []
    for distance in (0.0, 0.1, 0.2, 0.4):
        joints = torch.tensor([[[x, y, z - distance]]], dtype=torch.float64)
        steps.append(integral(Coordinates(joints), batch).total.item())
    assert steps == sorted(steps)
    assert steps[0] == pytest.approx(0, abs=1e-7)


def test_direct_regression():
    space = StandardisedPose(
        torch.tensor([[0.0, 0, 0], [100, 0, 0]]), torch.tensor([[0.0, 0, 0], [10, 20, 50]]), root=0
    )
    joints_mm = torch.tensor([[[0.0, 0, 0], [120, 20, 0]]])
    joints = torch.zeros(1, 2, 3, requires_grad=True)
    batch = make_batch(joints_mm)
    result = make_loss(space=space)(Coordinates(joints), batch)
    assert result.total.item() == pytest.approx((2 + 1) / 6)
    assert mean_distance_mm(result.joints, batch, space) == pytest.approx(math.hypot(20, 20) / 2)
    result.total.backward()
    assert joints.grad[0, 1].tolist() == pytest.approx([-1 / 6, -1 / 6, 0])


def test_the_batch_error_is_root_relative():
    joints_mm = labels().float()
    batch = make_batch(joints_mm)
    result = make_loss()(Coordinates(SPACE.encode(joints_mm) + 0.2), batch)
    assert mean_distance_mm(result.joints, batch, SPACE) == pytest.approx(0, abs=1e-3)
    assert result.total == pytest.approx(0.2, rel=1e-5)


def test_coordinates_have_no_heat_map():
    output, batch = Coordinates(torch.zeros(2, 3, 3)), make_batch(labels())
    with pytest.raises(ValueError, match="no heat maps; set the heat map loss's weight to 0"):
        make_loss(heatmap=1.0)(output, batch)
    assert output.probabilities(0, 0) == {}
    assert output.confidence(3.0) is None


def test_every_output_names_its_tensors():
    logits, marginals = make_logits(), make_marginals()
    assert VolumeLogits(logits).tensors() == {"logits": logits}
    assert MarginalLogits(marginals).tensors() == dict(zip(("yx", "zy", "zx"), marginals, strict=True))
    assert Coordinates(logits).tensors() == {"coordinates": logits}


def make_marginals(seed=0):
    """yx, zy and zx of random logits."""
    return planes_of_volume(make_logits(seed))


def test_the_divergence_of_a_volume_is_that_of_its_planes():
    batch = make_batch(labels())
    loss = make_loss(heatmap=0.5, name="jensen_shannon", sigma_cells=0.7)
    of_volume = loss(VolumeLogits(make_logits()), batch)
    of_planes = loss(MarginalLogits(make_marginals()), batch)
    expected = jensen_shannon(make_marginals(), labels() / 2000, GaussianMarginals(0.7))
    for found in (of_volume, of_planes):
        assert found.terms["heatmap"].item() == pytest.approx(expected.item(), rel=1e-9)
        assert found.total.item() == pytest.approx(found.terms["integral"].item() + 0.5 * expected.item(), rel=1e-9)
    assert of_volume.terms["integral"].item() == pytest.approx(of_planes.terms["integral"].item(), rel=1e-9)


def test_gradients_of_the_divergence():
    loss, logits = make_loss(heatmap=0.3, name="jensen_shannon"), make_logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(VolumeLogits(x), make_batch(labels())).total, logits)


def test_the_coordinates_of_axes_by_hand():
    """x is certain of cell 4 of 5, y and z know nothing."""
    x = torch.zeros(1, 1, 5)
    x[..., 4] = 1e4
    output = MarginalLogits((x, torch.zeros(1, 1, 4), torch.zeros(1, 1, 3)))
    result = make_loss()(output, make_batch(torch.zeros(1, 1, 3)))
    assert result.terms["integral"] == pytest.approx(0.4 / 3)
    assert result.terms.keys() == {"integral"}


def test_marginals_have_no_cross_entropy():
    with pytest.raises(ValueError, match="cross_entropy compares volumes; take jensen_shannon for planes and axes"):
        make_loss(heatmap=1.0)(MarginalLogits(make_marginals()), make_batch(labels()))


@pytest.mark.parametrize("heatmap", [{}, {"heatmap": 0.5}, {"heatmap": 0.5, "name": "jensen_shannon"}])
def test_a_debiased_network_is_trained_on_debiased_coordinates(heatmap):
    """One cell of 60 raised to 61: the expectation goes half the way to its centre, the compensated one all of it."""
    logits = torch.zeros(1, 1, *SHAPE, dtype=torch.float64)
    logits[..., 2, 3, 4] = math.log(61)
    centre = torch.tensor([[[4.5 / 5 - 0.5, 3.5 / 4 - 0.5, 2.5 / 3 - 0.5]]], dtype=torch.float64)
    batch, weights = make_batch(centre * 2000), LossWeights(1.0, heatmap.get("heatmap", 0.0))
    options = LossConfig(heatmap=HeatmapConfig(name=heatmap.get("name", "cross_entropy")))
    criterion = build_criterion(options, SPACE)
    plain = criterion(VolumeLogits(logits), batch, weights)
    debiased = criterion(VolumeLogits(logits, debiased=True), batch, weights)
    assert plain.terms["integral"].item() == pytest.approx(centre.mean().item() / 2)
    assert debiased.terms["integral"].item() == pytest.approx(0, abs=1e-12)
    assert plain.terms.get("heatmap") == debiased.terms.get("heatmap")
