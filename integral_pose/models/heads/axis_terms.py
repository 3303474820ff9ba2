"""Logits along single axes, added to those of heat maps: what regression would say, times what the map sees.

    logits(x, y, z) = convolution(x, y, z) + a_x(x) + a_y(y) + a_z(z)

The volume operator adds them where it reads the volume. They are

- linear in the pooled features, a number a cell, with zero weights and a bias that is the prior,
- or the logarithm of a Gaussian round a position that is regressed from the pooled features: near the mean of the
  training labels at first, with their deviation always,
- or the prior alone: the logarithm of a Gaussian with the training labels' mean and deviation.

With each of them an untrained network predicts the mean pose, to a few percent of its error.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from integral_pose.config.schema import ModelConfig
from integral_pose.contracts import AxisLogits
from integral_pose.geometry.coordinates import axis_lengths_xyz, cell_centers_norm
from integral_pose.models.heads.shared import HeadInputs

LEAST_STD_NORM = 0.04  # 9 cm in a volume of 2.2 m: the root never moves, and narrower priors have steep logits
LEAST_STD_CELLS = 0.32  # a narrower Gaussian on a grid has its mean at the nearest cell, wherever it should be
EPSILON = 1e-12  # of features that are all zero
FIRST_SPREAD = 0.15  # of positions that nothing was learnt of, in the labels' deviations: the error grows by 1 to 2 %
BACKGROUND = 0.01  # share of a prior's mass at logit 0, which the debiased decoder takes out


class AxisTerms(nn.Module):
    """Linear in the pooled features; `prior` (J, W + H + D) is the bias. `volume_shape` is (D, H, W)."""

    def __init__(self, channels: int, volume_shape: Sequence[int], prior: Tensor) -> None:
        super().__init__()
        self.num_joints, self.lengths = len(prior), axis_lengths_xyz(volume_shape)
        self.linear = nn.Linear(channels, prior.numel())
        nn.init.zeros_(self.linear.weight)
        with torch.no_grad():
            self.linear.bias.copy_(prior.flatten())

    def forward(self, features: Tensor) -> AxisLogits:
        """(B, C, h, w) -> (B, J, W), (B, J, H) and (B, J, D), float32 at least: bfloat16 would round the prior."""
        terms = _of_pooled(self.linear, features).unflatten(1, (self.num_joints, sum(self.lengths)))
        return AxisLogits(*terms.split(self.lengths, dim=-1))


class GaussianTerms(nn.Module):
    """Logarithms of Gaussians round a regressed position; `mean_norm`, `std_norm` (J, 3) are those of the labels.

    The position is linear in the pooled features, brought to a root mean square of 1, and in deviations from the mean.
    So the volume learns the pose at the rate of regression. The first weights are random: from zeros it takes longer,
    since the features then get no gradient.
    """

    mean_norm: Tensor
    std_norm: Tensor

    def __init__(self, channels: int, volume_shape: Sequence[int], mean_norm: Tensor, std_norm: Tensor) -> None:
        super().__init__()
        self.num_joints, self.volume_shape = len(mean_norm), tuple(volume_shape)
        self.linear = nn.Linear(channels, self.num_joints * 3)
        nn.init.normal_(self.linear.weight, std=FIRST_SPREAD / math.sqrt(channels))
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("mean_norm", mean_norm.clone())
        self.register_buffer("std_norm", std_norm.clone())

    def forward(self, features: Tensor) -> AxisLogits:
        """(B, C, h, w) -> (B, J, W), (B, J, H) and (B, J, D), float32 at least."""
        moved = _of_pooled(self.linear, features, to_unit=True).unflatten(1, (self.num_joints, 3))
        terms = log_gaussians(self.volume_shape, self.mean_norm + self.std_norm * moved, self.std_norm)
        return AxisLogits(*terms.split(axis_lengths_xyz(self.volume_shape), dim=-1))


class AxisPrior(nn.Module):
    """The prior alone, the same for every image and not trained."""

    prior: Tensor

    def __init__(self, volume_shape: Sequence[int], prior: Tensor) -> None:
        super().__init__()
        self.lengths = axis_lengths_xyz(volume_shape)
        self.register_buffer("prior", prior.clone())

    def forward(self, features: Tensor) -> AxisLogits:
        """(B, C, h, w) -> (B, J, W), (B, J, H) and (B, J, D)."""
        return AxisLogits(*self.prior.expand(len(features), -1, -1).split(self.lengths, dim=-1))


AxisAddition = AxisTerms | GaussianTerms | AxisPrior


def log_gaussians(volume_shape: Sequence[int], mean_norm: Tensor, std_norm: Tensor) -> Tensor:
    """(..., J, 3) twice -> (..., J, W + H + D): logarithms of Gaussians at the cell centres of each axis.

    The sum of exp over the volume is its number of cells / BACKGROUND, since the debiased decoder takes logit 0 for
    the background.
    """
    along = []
    for axis, cells in enumerate(axis_lengths_xyz(volume_shape)):
        std = std_norm[..., axis, None].clamp(min=max(LEAST_STD_NORM, LEAST_STD_CELLS / cells))
        log = -0.5 * ((cell_centers_norm(cells, mean_norm) - mean_norm[..., axis, None]) / std) ** 2
        along.append(log.log_softmax(-1) + math.log(cells) - math.log(BACKGROUND) / 3)
    return torch.cat(along, -1)


def build_axis_terms(model: ModelConfig, inputs: HeadInputs) -> AxisAddition | None:
    """What the section `model` adds along the axes of its heat maps; statistics may come with a checkpoint."""
    if model.axis_terms == "none" and not model.has_prior:
        return None
    growth = 2 ** len(model.deconv_channels) * model.cells_per_feature
    height, width = (side * growth for side in inputs.feature_size)
    shape = (model.volume_depth, height, width)
    if model.axis_terms == "gaussian":
        unknown = torch.zeros(model.num_joints, 3), torch.ones(model.num_joints, 3)
        return GaussianTerms(inputs.channels, shape, *(inputs.statistics_norm or unknown))
    prior = torch.zeros(model.num_joints, sum(shape))
    if model.has_prior and inputs.statistics_norm is not None:
        prior = log_gaussians(shape, *inputs.statistics_norm)
    return AxisTerms(inputs.channels, shape, prior) if model.axis_terms == "linear" else AxisPrior(shape, prior)


def _of_pooled(linear: nn.Linear, features: Tensor, *, to_unit: bool = False) -> Tensor:
    """Of the mean of features (B, C, h, w) over their places, with the weights' precision under autocast too.

    `to_unit` brings each image's mean features to a root mean square of 1.
    """
    with torch.autocast(features.device.type, enabled=False):
        pooled = features.mean((-2, -1)).to(linear.weight.dtype)
        if to_unit:
            pooled = pooled * (pooled.square().mean(-1, keepdim=True) + EPSILON).rsqrt()
        outputs: Tensor = linear(pooled)
    return outputs
