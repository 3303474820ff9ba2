"""The volume operator, plainly written: what the method is. Fast paths are tested against this file.

    p        = softmax of one joint's logits over all D * H * W voxels
    joints   = expectation of the cell centres under p            (Sun et al. 2018, eq. 2)
    loss     = binary cross-entropy between p and a target cube   (Pantalos & Rudin 2019, section 3)

Safe in float32 for any finite logits: no logarithm of zero, no difference of nearly equal numbers.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from integral_pose.contracts import AxisLogits
from integral_pose.geometry.coordinates import cell_centers_norm, joints_norm_to_cell


@dataclass(frozen=True)
class HeatmapTarget:
    """What the heat map loss compares with.

    A cube of (2 radius + 1)^3 voxels round the cell p of the joint, cut where it leaves the volume:
    peak * exp(-d^2 / 2) with d the distance from p in cells. Radius 0 with peak 1 is a one-hot target.
    """

    peak: float = 1 / math.sqrt(2 * math.pi)
    radius: int = 5
    reduction: str = "sum"  # over the voxels of a joint: 'sum' or 'mean'


def with_axis_logits(logits: Tensor, axis_logits: AxisLogits | None) -> Tensor:
    """logits(x, y, z) + x(x) + y(y) + z(z) as a volume (B, J, D, H, W), float32 at least; without them as they are."""
    if axis_logits is None:
        return logits
    x, y, z = axis_logits
    return at_least_float32(logits) + (z[..., :, None, None] + y[..., None, :, None] + x[..., None, None, :])


def soft_argmax(logits: Tensor, *, axis_logits: AxisLogits | None = None) -> Tensor:
    """(B, J, D, H, W) logits, any memory layout -> (B, J, 3) expected position, norm (x, y, z)."""
    return expected_position(log_probability(with_axis_logits(logits, axis_logits)).exp())


def soft_argmax_and_heatmap_loss(
    logits: Tensor, joints_norm: Tensor, target: HeatmapTarget, *, axis_logits: AxisLogits | None = None
) -> tuple[Tensor, Tensor]:
    """Expected positions (B, J, 3) norm, and the heat map loss against the true `joints_norm` (B, J, 3).

    The loss is a scalar: over the voxels by `target.reduction`, then the mean over B and J. A joint outside
    the volume contributes nothing to it. Accumulates in float32 at least.
    """
    logits = with_axis_logits(logits, axis_logits)
    log_p = log_probability(logits)
    cube, inside = target_cube(joints_norm.to(log_p.dtype), logits.shape[-3:], target)
    cross_entropy = -(cube * log_p + (1 - cube) * _log_one_minus_p(logits, log_p)).flatten(2)
    per_joint = cross_entropy.sum(-1) if target.reduction == "sum" else cross_entropy.mean(-1)
    loss = torch.where(inside, per_joint, per_joint.new_zeros(())).mean()
    return expected_position(log_p.exp()), loss


def expected_position(probability: Tensor) -> Tensor:
    """(B, J, D, H, W) summing to 1 a joint -> (B, J, 3) norm (x, y, z), by the three marginals."""
    axes = []
    for kept, summed in ((-1, (-3, -2)), (-2, (-3, -1)), (-3, (-2, -1))):
        marginal = probability.sum(summed)
        axes.append(marginal @ cell_centers_norm(probability.shape[kept], marginal))
    return torch.stack(axes, -1)


def target_cube(joints_norm: Tensor, volume_shape: tuple[int, ...], target: HeatmapTarget) -> tuple[Tensor, Tensor]:
    """The dense target (B, J, D, H, W), and whether each joint lies inside the volume (B, J)."""
    cells, inside = joints_norm_to_cell(joints_norm, volume_shape)
    factors = []
    for axis, num_cells in ((2, volume_shape[0]), (1, volume_shape[1]), (0, volume_shape[2])):
        distance = torch.arange(num_cells, device=cells.device) - cells[..., axis, None]  # (B, J, cells)
        gaussian = torch.exp(-(distance.to(joints_norm.dtype) ** 2) / 2)
        factors.append(gaussian * (distance.abs() <= target.radius))
    along_z, along_y, along_x = factors
    cube = along_z[..., :, None, None] * along_y[..., None, :, None] * along_x[..., None, None, :]
    return target.peak * cube, inside


def log_probability(logits: Tensor) -> Tensor:
    """Logarithm of the softmax of each joint's heat map, (B, J, ...), float32 at least."""
    return at_least_float32(logits).flatten(2).log_softmax(-1).view(logits.shape)


def at_least_float32(values: Tensor) -> Tensor:
    """As sums are made: float64 stays, anything else becomes float32."""
    return values if values.dtype == torch.float64 else values.float()


def _log_one_minus_p(logits: Tensor, log_p: Tensor) -> Tensor:
    """log(1 - p), exact also where p rounds to 1.

    Every voxel but the largest has p <= 1/2, where log1p is exact. For the largest, 1 - p is the sum over
    all the others, so its logarithm is their log-sum-exp minus that of all.
    """
    flat = logits.flatten(2).to(log_p.dtype)
    largest = torch.zeros_like(flat, dtype=torch.bool).scatter_(-1, flat.argmax(-1, keepdim=True), True)
    others = flat.masked_fill(largest, -math.inf).logsumexp(-1, keepdim=True)
    log_rest = others - flat.logsumexp(-1, keepdim=True)
    # The masked p is kept out of log1p: its gradient there would be infinite, and infinity * 0 is NaN.
    small_p = log_p.flatten(2).exp().masked_fill(largest, 0.0)
    return torch.where(largest, log_rest, torch.log1p(-small_p)).view(logits.shape)
