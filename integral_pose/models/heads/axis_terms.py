"""Logits along single axes, added to those of heat maps: what regression would say, times what the map sees.

    logits(x, y, z) = convolution(x, y, z) + a_x(x) + a_y(y) + a_z(z)

The volume operator adds them where it reads the volume. They are linear in the pooled features, with zero weights and
a bias that is the prior, or they are the prior alone. The prior is the logarithm of a Gaussian with the training
labels' mean and deviation, with which an untrained network predicts the mean pose.
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
        with torch.autocast(features.device.type, enabled=False):
            pooled = features.mean((-2, -1)).to(self.linear.weight.dtype)
            terms = self.linear(pooled).unflatten(1, (self.num_joints, sum(self.lengths)))
        return AxisLogits(*terms.split(self.lengths, dim=-1))


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


def log_gaussians(volume_shape: Sequence[int], mean_norm: Tensor, std_norm: Tensor) -> Tensor:
    """(J, 3) twice -> (J, W + H + D): logarithms of Gaussians at the cell centres of each axis.

    The sum of exp over the volume is its number of cells / BACKGROUND, since the debiased decoder takes logit 0 for
    the background.
    """
    along = []
    for axis, cells in enumerate(axis_lengths_xyz(volume_shape)):
        std = std_norm[:, axis, None].clamp(min=max(LEAST_STD_NORM, LEAST_STD_CELLS / cells))
        log = -0.5 * ((cell_centers_norm(cells, mean_norm) - mean_norm[:, axis, None]) / std) ** 2
        along.append(log.log_softmax(-1) + math.log(cells) - math.log(BACKGROUND) / 3)
    return torch.cat(along, -1)


def build_axis_terms(model: ModelConfig, inputs: HeadInputs) -> AxisTerms | AxisPrior | None:
    """What the section `model` adds along the axes of its heat maps; a prior of zeros where a checkpoint follows."""
    if not (model.axis_terms or model.has_prior):
        return None
    growth = 2 ** len(model.deconv_channels) * model.cells_per_feature
    height, width = (side * growth for side in inputs.feature_size)
    shape = (model.volume_depth, height, width)
    prior = torch.zeros(model.num_joints, sum(shape))
    if model.has_prior and inputs.statistics_norm is not None:
        prior = log_gaussians(shape, *inputs.statistics_norm)
    return AxisTerms(inputs.channels, shape, prior) if model.axis_terms else AxisPrior(shape, prior)
