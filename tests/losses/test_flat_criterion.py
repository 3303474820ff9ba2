"""Losses of 2D labels: by hand in the image volume and in the metric one, and without a false depth."""

import math

import numpy as np
import pytest
import torch

from integral_pose.config.loss_section import HeatmapConfig, LossConfig
from integral_pose.contracts import CropViews, MixedBatch, PoseBatch
from integral_pose.experiment.model import mean_distance_mm
from integral_pose.geometry.coordinates import ImageVolume, MetricVolume
from integral_pose.geometry.lifting import move_views
from integral_pose.heatmaps.marginals import planes_of_volume
from integral_pose.heatmaps.outputs import Coordinates, MarginalLogits, VolumeLogits
from integral_pose.heatmaps.reference import log_probability
from integral_pose.heatmaps.uncertain_output import UncertainOutput
from integral_pose.losses import LossWeights, build_criterion
from integral_pose.losses.flat_criterion import build_flat_criterion
from integral_pose.losses.mixed_criterion import MixedCriterion, WeightedSource

CROP, METRIC = ImageVolume(2000.0, 100, 100, root=0), MetricVolume(2000.0, root=0)
SHAPE = (3, 4, 5)
NAN = torch.nan
CPU = torch.device("cpu")
# The first joint, the middle of the other two, and a label that is not learnt from.
MATRIX = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 0]], np.float32)


def still_views(number):
    return CropViews(torch.full((number, 9), NAN), torch.eye(2, 3).repeat(number, 1, 1), torch.full((number, 3), NAN),
                     torch.eye(3).repeat(number, 1, 1))  # fmt: skip


def flat_batch(joints_px, views=None):
    number, joints, _ = joints_px.shape
    return PoseBatch(torch.arange(number), torch.zeros(number, 3, 100, 100), torch.full((number, joints, 3), NAN),
                     joints_px, views=views or still_views(number), is_complete=False, has_mm=False)  # fmt: skip


def criterion_of(space, matrix=MATRIX, **heatmap):
    return build_flat_criterion(LossConfig(heatmap=HeatmapConfig(**heatmap)), space, matrix, 100, CPU)


def test_weighted_sums_of_joints_in_the_crop_by_hand():
    """Off by 0.1 in x at a joint, by 0.2 in y at the middle of two; the third label counts nowhere."""
    joints = torch.tensor([[[0.1, 0.0, 9], [-0.2, 0.1, 9], [0.2, 0.3, 9]]], requires_grad=True)
    result = criterion_of(CROP)(Coordinates(joints), flat_batch(torch.tensor([[[50.0, 50], [50, 50], [1, 1]]])),
                                LossWeights(2, 0))  # fmt: skip
    assert result.terms["integral"].item() == pytest.approx(0.3 / 4)
    assert result.total.item() == pytest.approx(0.6 / 4)
    result.total.backward()
    assert joints.grad[..., 2].abs().max() == 0  # a label in px teaches no depth
    assert joints.grad[0, 1].tolist() == pytest.approx([0, 0.25, 0])


@pytest.mark.parametrize("away", [torch.nan, -0.01, 100.01, 1e30])
def test_labels_outside_of_the_crop_have_no_part(away):
    px = torch.tensor([[[60.0, 50], [away, 50], [1, 1]]])
    joints = torch.zeros(1, 3, 3, requires_grad=True)
    for space in (CROP, METRIC):
        result = criterion_of(space)(Coordinates(joints), flat_batch(px), LossWeights(1, 0))
        assert torch.isfinite(result.total)
        (gradient,) = torch.autograd.grad(result.total, joints)
        assert gradient[0, 1:].abs().max() == 0
    assert criterion_of(CROP)(Coordinates(joints), flat_batch(px), LossWeights(1, 0)).total.item() == pytest.approx(
        0.05
    )


def test_the_metric_volume_is_laid_over_the_label_by_hand():
    """The known answer of the alignment, in sides of a crop of 100 px, whatever the scale and place predicted."""
    joints = torch.tensor([[[-0.1, 0, 0.3], [0.1, 0, -0.2]]])
    px = torch.tensor([[[40.0, 50], [60, 52]]])
    criterion = criterion_of(METRIC, np.eye(2, dtype=np.float32))
    for scale, shift in ((1, 0), (3, 0.2)):
        result = criterion(Coordinates(scale * joints + shift), flat_batch(px), LossWeights(1, 0))
        assert result.total.item() == pytest.approx(0.524938 / 100, abs=1e-7)


def test_the_metric_volume_sees_through_augmentation():
    """A right pose stays right where the crop is stretched, shifted, turned and mirrored, as labels in mm are."""
    angle, stretch, mirror = 0.4, torch.diag(torch.tensor([1.2, 0.8])), torch.diag(torch.tensor([-1.0, 1]))
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    px = torch.tensor([[[40.0, 50], [60, 52], [45, 30]]])
    moved = torch.cat([mirror @ turn @ stretch, torch.tensor([[90.0], [-10]])], 1)[None]
    axes = torch.eye(3)
    axes[:2, :2] = mirror @ turn
    views = move_views(still_views(1), moved, axes[None])
    seen_px = px @ moved[:, :, :2].mT + moved[:, None, :, 2]
    assert ((seen_px > 0) & (seen_px < 100)).all()
    joints = torch.cat([(px - 50) / 200 @ (mirror @ turn).T, torch.zeros(1, 3, 1)], -1)
    criterion = criterion_of(METRIC, np.eye(3, dtype=np.float32))
    result = criterion(Coordinates(joints), flat_batch(seen_px, views), LossWeights(1, 0))
    assert result.total.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("space", [CROP, METRIC], ids=["image", "metric"])
def test_gradients(space):
    joints = 0.2 * torch.randn(2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    px = torch.tensor([[[40.0, 50], [60, 52], [1, 1]], [[NAN, NAN], [30, 70], [1, 1]]], dtype=torch.float64)
    matrix = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]], np.float32)
    criterion, batch = criterion_of(space, matrix), flat_batch(px)
    batch.views = batch.views.map(lambda tensor: tensor.double())
    assert torch.autograd.gradcheck(
        lambda joints: criterion(Coordinates(joints), batch, LossWeights(1, 0)).total, joints.requires_grad_()
    )


def make_outputs():
    volume = torch.randn(2, 3, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    axes = tuple(volume.logsumexp(dims) for dims in ((-3, -2), (-3, -1), (-2, -1)))
    scale = torch.ones(2, 3, 1, dtype=torch.float64)
    return {
        "volume": VolumeLogits(volume), "planes": MarginalLogits(planes_of_volume(volume)),
        "axes": MarginalLogits(axes), "uncertain": UncertainOutput(VolumeLogits(volume), scale, scale.expand(2, 3, 3)),
    }  # fmt: skip


def test_heat_maps_are_summed_over_depth():
    outputs = make_outputs()
    expected = log_probability(outputs["volume"].logits).exp().sum(-3)
    for name in ("volume", "planes", "uncertain"):
        torch.testing.assert_close(log_probability(outputs[name].flat_logits()).exp()[:, :, 0], expected)
    x, y = (expected.sum(dim, keepdim=True) for dim in (-2, -1))
    torch.testing.assert_close(log_probability(outputs["axes"].flat_logits()).exp()[:, :, 0], x * y)


def test_heat_map_loss_by_hand():
    """Flat heat maps over 4 x 5 cells, one-hot: of two labels that are single joints one is known."""
    px = torch.tensor([[[30.0, 60], [NAN, NAN], [1, 1]]])
    matrix = np.array([[1, 0, 0], [0, 0, 1], [0, 0.5, 0.5]], np.float32)
    result = criterion_of(CROP, matrix, target="one_hot")(
        VolumeLogits(torch.zeros(1, 3, *SHAPE)), flat_batch(px), LossWeights(0, 1)
    )
    assert result.terms["heatmap"].item() == pytest.approx(math.log(20) - 19 * math.log(1 - 1 / 20), rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "jensen_shannon"])
def test_heat_map_loss_leaves_depth_alone(name):
    """It is the same wherever the mass lies along z, and pulls at no cell of a column more than its share."""
    logits = make_outputs()["volume"].logits.clone().requires_grad_()
    criterion = criterion_of(CROP, name=name)
    batch = flat_batch(torch.tensor([[[30.0, 60], [50, 50], [1, 1]]] * 2))
    loss = criterion(VolumeLogits(logits), batch, LossWeights(0, 1)).total
    turned = criterion(VolumeLogits(logits.flip(-3)), batch, LossWeights(0, 1)).total
    assert turned.item() == pytest.approx(loss.item(), rel=1e-6)
    loss.backward()
    share = logits.detach().softmax(-3)
    torch.testing.assert_close(logits.grad, logits.grad.sum(-3, keepdim=True) * share, atol=1e-6, rtol=1e-4)


def test_outputs_split_by_samples():
    for output in (*make_outputs().values(), Coordinates(torch.randn(2, 3, 3))):
        parts = output.split([1, 1])
        torch.testing.assert_close(torch.cat([part.joints() for part in parts]), output.joints())


def test_a_mixed_loss_is_the_weighted_sum_and_names_its_terms():
    """3D off by (0.1, 0.2, 0.3) at one joint, 2D by (0.1, 0.2) at one, one label missing: means by kind 0.2, 0.15."""
    space = ImageVolume(2000.0, 100, 100, root=0)
    whole = PoseBatch(torch.arange(1), torch.zeros(1, 3, 100, 100), torch.tensor([[[0.0, 0, 600]]]),
                      torch.tensor([[[60.0, 70]]]))  # fmt: skip
    flat = flat_batch(torch.tensor([[[60.0, 70]], [[NAN, NAN]]]))
    flat.indices = flat.indices + 1
    one = np.ones((1, 1), np.float32)
    criterion = MixedCriterion([
        WeightedSource("h36m", build_criterion(LossConfig(), space), 1.0),
        WeightedSource("mpii", criterion_of(space, one), 0.5),
    ])  # fmt: skip
    batch = MixedBatch((whole, flat))
    result = criterion(Coordinates(torch.zeros(3, 1, 3)), batch, LossWeights(1, 0))
    terms = {name: value.item() for name, value in result.terms.items()}
    assert terms == pytest.approx({"integral/h36m": 0.2, "integral/mpii": 0.15})
    assert result.total.item() == pytest.approx(0.2 + 0.5 * 0.15)
    assert result.joints.shape == (3, 1, 3)
    assert batch.indices.tolist() == [0, 1, 2]
    metric = MetricVolume(2000.0, root=0)
    assert mean_distance_mm(torch.zeros(3, 1, 3), batch, metric).item() == pytest.approx(600)  # of the 3D sample alone
