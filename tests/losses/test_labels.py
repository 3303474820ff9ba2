"""Losses of batches in which labels are missing: by hand, by their gradients, and whatever stands in the gaps."""

import math

import pytest
import torch

from integral_pose.config.loss_section import HeatmapConfig, LossConfig
from integral_pose.contracts import PoseBatch
from integral_pose.experiment.model import mean_distance_mm
from integral_pose.geometry.coordinates import ImageVolume, MetricVolume
from integral_pose.heatmaps.marginals import planes_of_volume
from integral_pose.heatmaps.outputs import Coordinates, MarginalLogits, VolumeLogits
from integral_pose.heatmaps.uncertain_output import UncertainOutput
from integral_pose.losses import LossWeights, build_criterion
from integral_pose.models.residual_flow import ResidualFlow

SPACE = MetricVolume(2000.0, root=0)
SHAPE = (3, 4, 5)
NAN = torch.nan


def batch_of(joints_mm, joints_px=None, *, is_complete=False):
    px = torch.zeros(*joints_mm.shape[:2], 2) if joints_px is None else joints_px
    return PoseBatch(torch.arange(len(joints_mm)), torch.zeros(len(joints_mm), 3, 8, 8), joints_mm, px,
                     is_complete=is_complete)  # fmt: skip


def double(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def labels_mm(missing=((0, 1), (1, 2)), value=NAN):
    joints_mm = 200 * double(2, 3, 3, seed=1)
    joints_mm -= joints_mm[:, :1].clone()
    for place in missing:
        joints_mm[place] = value
    return joints_mm


def criterion_of(joints="l1", space=SPACE, **heatmap):
    flow = ResidualFlow().double() if joints == "rle" else None
    return build_criterion(LossConfig(joints=joints, heatmap=HeatmapConfig(**heatmap)), space,
                           flow.log_density if flow else None)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", (0.3 + 0.4) / 12),  # of two images and three joints, two joints are missing: 12 coordinates
        ("l2", (0.3**2 + 0.4**2) / 12),
        ("euclidean", 0.5 / 4),
        ("smooth_l1", (0.3 + 0.4 - 0.01) / 12),
    ],
)
def test_means_are_over_what_is_labelled(name, expected):
    joints_mm = torch.zeros(2, 3, 3, dtype=torch.float64)
    joints_mm[0, 1] = torch.tensor([600.0, -800.0, 0])
    joints_mm[0, 2] = joints_mm[1, 1] = NAN
    predicted = torch.zeros(2, 3, 3, dtype=torch.float64)
    predicted[0, 2], predicted[1, 1] = 7.0, -3.0
    result = criterion_of(name)(Coordinates(predicted), batch_of(joints_mm), LossWeights(1, 0))
    assert result.total.item() == pytest.approx(expected, rel=1e-12)


def test_scaled_likelihood_by_hand():
    """Three of six joints are labelled: distances 0, 0.5 and 0 at the scale 0.1."""
    joints_mm = torch.zeros(2, 3, 3, dtype=torch.float64)
    joints_mm[0, 1] = torch.tensor([600.0, -800.0, 0])
    joints_mm[0, 2], joints_mm[1, 1:] = NAN, NAN
    output = UncertainOutput(Coordinates(torch.zeros(2, 3, 3, dtype=torch.float64)),
                             torch.full((2, 3, 1), 0.1, dtype=torch.float64), None)  # fmt: skip
    result = criterion_of("beta_nll")(output, batch_of(joints_mm), LossWeights(1, 0))
    expected = 0.1 * (5 / 3 + 3 * math.log(0.1) + math.log(8 * math.pi))
    assert result.total.item() == pytest.approx(expected, rel=1e-12)


def test_heat_map_loss_by_hand():
    """Flat heat maps of n voxels, one-hot targets: the mean over the four labelled joints is that of one."""
    n, joints_mm = math.prod(SHAPE), torch.zeros(2, 3, 3, dtype=torch.float64)
    joints_mm[0, 1], joints_mm[1, 2] = NAN, NAN
    result = criterion_of(target="one_hot")(
        VolumeLogits(torch.zeros(2, 3, *SHAPE, dtype=torch.float64)), batch_of(joints_mm), LossWeights(0, 1)
    )
    assert result.terms["heatmap"].item() == pytest.approx(math.log(n) - (n - 1) * math.log(1 - 1 / n), rel=1e-9)


def outputs(name):
    """A function of one tensor with a gradient -> the output of a network that this loss is of."""
    volume = double(2, 3, *SHAPE, seed=3)
    if name in ("beta_nll", "rle"):
        scale = double(2, 3, 1 if name == "beta_nll" else 3, seed=4).exp()
        return lambda x: UncertainOutput(Coordinates(x[..., :3]), scale * x[..., 3:].exp(), None), double(2, 3, 4)
    if name == "jensen_shannon":
        return lambda x: MarginalLogits(planes_of_volume(x)), volume
    return VolumeLogits, volume


CASES = ["l1", "smooth_l1", "l2", "euclidean", "beta_nll", "rle", "jensen_shannon", "cross_entropy"]


def case(name):
    if name in ("jensen_shannon", "cross_entropy"):
        return criterion_of(name=name), LossWeights(0.5, 1)
    return criterion_of(name), LossWeights(1, 0)


@pytest.mark.parametrize("name", [name for name in CASES if name != "beta_nll"])  # which holds its scale fixed
def test_gradients(name):
    torch.manual_seed(0)
    (criterion, weights), (output_of, x) = case(name), outputs(name)
    batch = batch_of(labels_mm())
    assert torch.autograd.gradcheck(lambda x: criterion(output_of(x), batch, weights).total, x.requires_grad_())


@pytest.mark.parametrize("name", CASES)
def test_what_is_missing_has_no_part_in_value_or_gradient(name):
    """Neither what stands in the place of a label, nor what is predicted there, nor a joint that is left out."""
    torch.manual_seed(0)
    (criterion, weights), (output_of, x) = case(name), outputs(name)

    def value_and_gradient(joints_mm, x):
        x = x.clone().requires_grad_()
        criterion(output_of(x), batch_of(joints_mm), weights).total.backward()
        return x.grad

    expected = value_and_gradient(labels_mm(), x)
    assert torch.isfinite(expected).all()
    assert expected[0, 1].abs().max() == 0 == expected[1, 2].abs().max()
    assert expected[0, 2].abs().max() > 0
    assert torch.equal(value_and_gradient(labels_mm(value=torch.inf), x), expected)
    other = x.clone()
    other[0, 1] = other[1, 2] = 2.5
    torch.testing.assert_close(value_and_gradient(labels_mm(), other), expected)


@pytest.mark.parametrize("name", CASES)
def test_a_batch_without_labels_is_zero_and_so_is_its_gradient(name):
    torch.manual_seed(0)
    (criterion, weights), (output_of, x) = case(name), outputs(name)
    x.requires_grad_()
    result = criterion(output_of(x), batch_of(torch.full((2, 3, 3), NAN, dtype=torch.float64)), weights)
    result.total.backward()
    assert result.total.item() == 0 == x.grad.abs().max()


@pytest.mark.parametrize("name", CASES)
def test_where_nothing_is_missing_both_ways_say_the_same(name):
    torch.manual_seed(0)
    (criterion, weights), (output_of, x) = case(name), outputs(name)
    joints_mm = labels_mm(missing=())
    plain, masked = (
        criterion(output_of(x), batch_of(joints_mm, is_complete=is_complete), weights).total
        for is_complete in (True, False)
    )
    torch.testing.assert_close(masked, plain)


def test_the_image_volume_learns_x_and_y_where_depth_is_missing():
    space = ImageVolume(2000.0, 8, 8, root=0)
    joints_mm, joints_px = torch.zeros(1, 2, 3), torch.full((1, 2, 2), 4.0)
    joints_mm[0, 1], joints_px[0, 1] = NAN, torch.tensor([6.0, 4.0])
    predicted = torch.zeros(1, 2, 3, requires_grad=True)
    result = criterion_of(space=space)(Coordinates(predicted), batch_of(joints_mm, joints_px), LossWeights(1, 0))
    assert result.total.item() == pytest.approx(0.25 / 5)  # five coordinates are known
    result.total.backward()
    assert predicted.grad[0, 1].tolist() == pytest.approx([-0.2, 0, 0])


def test_training_error_is_of_labelled_joints():
    joints_mm = torch.zeros(2, 3, 3)
    joints_mm[0, 1], joints_mm[1, 2] = torch.tensor([30.0, 40.0, 0]), NAN
    batch = batch_of(joints_mm)
    assert mean_distance_mm(torch.zeros(2, 3, 3), batch, SPACE).item() == pytest.approx(50 / 5)
    assert torch.isnan(mean_distance_mm(torch.zeros(2, 3, 3), batch_of(torch.full((2, 3, 3), NAN)), SPACE))


def test_training_error_of_the_image_volume_takes_its_scale_from_labelled_joints():
    space = ImageVolume(2000.0, 8, 8, root=0)
    joints_mm = torch.tensor([[[0.0, 0, 0], [200, 0, 0], [NAN, NAN, NAN], [0, 400, 0]]])
    joints_px = torch.tensor([[[4.0, 4], [6, 4], [7, 7], [4, 8]]])
    predicted = space.encode(torch.nan_to_num(joints_mm), joints_px)
    assert mean_distance_mm(predicted, batch_of(joints_mm, joints_px), space).item() == pytest.approx(0, abs=1e-4)
