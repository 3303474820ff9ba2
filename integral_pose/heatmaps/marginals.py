"""Heat maps that are sums of a volume: three planes or three axes a joint, in the place of (D, H, W).

    planes   yx, zy, zx: (B, J, H, W), (B, J, D, H), (B, J, D, W)
    axes     x, y, z:    (B, J, W), (B, J, H), (B, J, D)

Each is logits, the softmax of which is the sum of the volume's softmax over the axes that it lacks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from integral_pose.geometry.coordinates import cell_centers_norm, joints_norm_to_cell, norm_to_voxel
from integral_pose.heatmaps.reference import at_least_float32, log_probability

Marginals = tuple[Tensor, Tensor, Tensor]

PLANES = ("yx", "zy", "zx")  # the axes of each marginal, in the order of its memory
AXES = ("x", "y", "z")


@dataclass(frozen=True)
class GaussianMarginals:
    """What the divergence compares with: a Gaussian round the true position itself, not round its cell.

    Its values at the cell centres sum to 1, so near a face of the volume it is cut and made whole again.
    """

    sigma_cells: float = 1.0  # standard deviation along each axis, in cells of that axis


def axes_of(marginals: Marginals) -> tuple[str, str, str]:
    """PLANES or AXES, whichever these are."""
    return PLANES if marginals[0].dim() == 4 else AXES


def volume_shape(marginals: Marginals) -> tuple[int, int, int]:
    """(D, H, W) of the volume that these are sums of."""
    lengths: dict[str, int] = {}
    for axes, logits in zip(axes_of(marginals), marginals, strict=True):
        lengths |= zip(axes, logits.shape[2:], strict=True)
    return lengths["z"], lengths["y"], lengths["x"]


def planes_of_volume(logits: Tensor) -> Marginals:
    """(B, J, D, H, W) logits -> planes, float32 at least: the logarithms of the sums of the exponentials."""
    logits = at_least_float32(logits)
    return logits.logsumexp(-3), logits.logsumexp(-1), logits.logsumexp(-2)


def marginal_soft_argmax(marginals: Marginals) -> Tensor:
    """Expected position (B, J, 3) norm (x, y, z)."""
    return along_axes(marginals, lambda along: (along * cell_centers_norm(along.shape[-1], along)).sum(-1))


def along_axes(marginals: Marginals, statistic: Callable[[Tensor], Tensor]) -> Tensor:
    """(B, J, 3): a statistic (B, J) of the probabilities (B, J, cells) along x, y and z.

    An axis that two planes know gets the mean of what both say.
    """
    found: dict[str, list[Tensor]] = {"x": [], "y": [], "z": []}
    for axes, logits in zip(axes_of(marginals), marginals, strict=True):
        probability = log_probability(logits).exp()
        for place, axis in enumerate(axes, start=2):
            along = probability.movedim(place, 2)
            found[axis].append(statistic(along.reshape(*along.shape[:3], -1).sum(-1)))
    return torch.stack([torch.stack(each).mean(0) for each in found.values()], -1)


def jensen_shannon(marginals: Marginals, joints_norm: Tensor, target: GaussianMarginals) -> Tensor:
    """Mean Jensen-Shannon divergence to Gaussians round `joints_norm` (B, J, 3): 0 to log 2 (Nibali et al. 2018).

    The mean over the three marginals, then over B and J. A joint outside the volume contributes nothing, as in the
    cross-entropy. Safe in float32 for any finite logits: no logarithm of zero.
    """
    shape = volume_shape(marginals)
    inside = joints_norm_to_cell(joints_norm, shape)[1]
    centre = joints_norm.where(inside[..., None], joints_norm.new_zeros(()))
    lengths = dict(zip("zyx", shape, strict=True))
    along = {axis: _log_gaussian(centre[..., i], lengths[axis], target.sigma_cells) for i, axis in enumerate("xyz")}
    divergences = []
    for axes, logits in zip(axes_of(marginals), marginals, strict=True):
        log_q = along[axes[0]]
        for axis in axes[1:]:
            log_q = log_q[..., None] + along[axis][..., None, :]
        divergences.append(_divergence(log_probability(logits), log_q))
    per_joint = torch.stack(divergences).mean(0)
    return per_joint.where(inside, per_joint.new_zeros(())).mean()


def _log_gaussian(centre_norm: Tensor, num_cells: int, sigma_cells: float) -> Tensor:
    """(B, J) -> (B, J, cells): logarithm of a Gaussian at the cell centres, scaled to the sum 1."""
    cells = centre_norm.new_ones(num_cells).cumsum(0) - 1
    distance = (cells - norm_to_voxel(centre_norm, num_cells)[..., None]) / sigma_cells
    return (-0.5 * distance * distance).log_softmax(-1)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """(B, J, ...) twice -> (B, J): half of KL(p | m) and half of KL(q | m), where m is the mean of both."""
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    terms = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    return terms.flatten(2).sum(-1) / 2
