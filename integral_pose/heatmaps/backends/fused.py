"""The volume operator from one read of the logits and, backwards, one read and one write.

With p the softmax of a joint's N logits x, c the cell centres and G the target:

    joints = sum p c
    loss   = -[sum log(1 - p) + sum over the cube of G (log p - log(1 - p))]
    dx_i   = p_i (c_i - joints) . dc + s [(p_i - G_i) / (1 - p_i) - p_i sum_j (p_j - G_j) / (1 - p_j)]

where dc and s are the gradients of the two results. Nothing of the size of the volume is kept but the logits.

The voxel m with the largest logit, the peak, is kept apart from the others, so that nothing is ever computed as
1 - p near p = 1. With pi the softmax of the others alone and r = 1 - p_m their share, p_i = r pi_i <= 1/2, and

    dx_i = p_i (c_i - joints) . dc + s [(p_i - G_i) / (1 - p_i) - pi_i (1 - G_m - r) - p_i S]        i != m
    dx_m = p_m r (c_m - joints_pi) . dc + s [1 - G_m - r - p_m S],   S = sum_{j != m} (p_j - G_j) / (1 - p_j)

which stays finite and exact where p_m rounds to 1 or r to 0. What has one value a joint is float64 throughout.

Terms, numbers along single axes that belong to the logits (`reference.AxisLogits`), are added wherever a logit is read:
x_i is the sum. Their gradients are the sums of dx over the other two axes, taken while it is written.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from integral_pose.contracts import AxisLogits
from integral_pose.geometry.coordinates import cell_centers_norm
from integral_pose.heatmaps.backends.cube import JointCubes, joint_cubes
from integral_pose.heatmaps.backends.memory_order import AlongAxes, MemoryOrder
from integral_pose.heatmaps.reference import HeatmapTarget


class Softmax(NamedTuple):
    """The softmax of each of Q joints, peak apart. float64; NaN where a logit is not finite."""

    peak_cells: Tensor  # (Q, 3) int64 along (A, B, K)
    peak: Tensor  # (Q,) largest logit
    shift: Tensor  # (Q,) largest logit of the others
    log_sum: Tensor  # (Q,) log sum exp(x - shift) over the others
    mean: Tensor  # (Q, 3) expected position under the others alone, norm, along (A, B, K)
    log_complement: Tensor  # (Q,) sum of log(1 - p) over the others; 0 where not asked for
    odds: Tensor  # (Q,) sum of p / (1 - p) over the others; 0 where not asked for

    @property
    def _gap(self) -> Tensor:
        return self.shift - self.peak + self.log_sum

    @property
    def log_others(self) -> Tensor:
        """(Q,) log r: the logarithm of the share of the others."""
        return -_softplus(-self._gap)

    @property
    def log_peak(self) -> Tensor:
        """(Q,) log p of the peak."""
        return -_softplus(self._gap)


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)). That of torch is cut off at 20, which is 2e-9 off."""
    return torch.logaddexp(x, torch.zeros_like(x))


class CubeSums(NamedTuple):
    """Sums over the cube of each of Q joints, peak left out. float64."""

    loss: Tensor  # (Q,) of G (log p - log(1 - p))
    odds: Tensor  # (Q,) of G / (1 - p)


class GradientTables(NamedTuple):
    """All that the gradient of a voxel needs beside its logit; columns of the joints' float64 values."""

    shift: Tensor  # (Q,)
    log_sum: Tensor  # (Q,)
    others: Tensor  # (Q,) r
    pull: Tensor  # (Q,) s (1 - G_m - r + r S)
    weight: Tensor  # (Q,) s
    peak_gradient: Tensor  # (Q,) dx_m
    peak_cells: Tensor  # (Q, 3) int64 along (A, B, K)
    slopes: tuple[Tensor, Tensor, Tensor]  # (Q, cells) a table an axis; their sum is (c - joints) . dc
    targets: tuple[Tensor, Tensor, Tensor] | None  # (Q, cells) an axis; their product is s G. None: no heat map


class Engine(Protocol):
    """The passes over a (N, A, B, G, K) volume, with terms (Q, cells) along A, B, K or None."""

    def softmax(self, volume: Tensor, terms: AlongAxes | None, with_loss: bool) -> Softmax:
        """Read the volume."""
        ...

    def cube_sums(self, volume: Tensor, terms: AlongAxes | None, softmax: Softmax, cubes: JointCubes) -> CubeSums:
        """Read the voxels round the true joints."""
        ...

    def gradient(
        self, volume: Tensor, terms: AlongAxes | None, tables: GradientTables
    ) -> tuple[Tensor, AlongAxes | None]:
        """Read the volume again and write its gradient, of the same shape, order and dtype; that of the terms too."""
        ...


def read_volume(
    logits: Tensor,
    joints_norm: Tensor | None,
    target: HeatmapTarget | None,
    axis_logits: AxisLogits | None,
    engine: Engine,
) -> tuple[Tensor, Tensor]:
    """Expected positions (B, J, 3) norm and heat map loss (0 without a target) of (B, J, D, H, W) logits."""
    joints, loss = _FusedVolume.apply(logits, joints_norm, target, engine, *(axis_logits or ()))
    return joints, loss


def terms_of(axis_logits: Sequence[Tensor], order: MemoryOrder, dtype: torch.dtype) -> AlongAxes | None:
    """Axis logits (B, J, cells) along x, y, z -> tables (Q, cells) along A, B, K; None where there are none."""
    if not axis_logits:
        return None
    return order.exchange_axes([along.flatten(0, 1).to(dtype) for along in axis_logits])


def axis_gradients(
    gradients: AlongAxes | None, axis_logits: Sequence[Tensor], order: MemoryOrder
) -> tuple[Tensor, ...]:
    """Gradients of the tables (Q, cells) along A, B, K -> those of the axis logits."""
    if gradients is None:
        return ()
    return tuple(
        gradient.view_as(along).to(along.dtype)
        for gradient, along in zip(order.exchange_axes(gradients), axis_logits, strict=True)
    )


class _FusedVolume(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        joints_norm: Tensor | None,
        target: HeatmapTarget | None,
        engine: Engine,
        *axis_logits: Tensor,
    ) -> tuple[Tensor, Tensor]:
        order = MemoryOrder.of(logits)
        volume = order.to_memory(logits)
        terms = terms_of(axis_logits, order, _accumulator(logits))
        softmax = engine.softmax(volume, terms, with_loss=target is not None)
        joints = order.exchange_xyz(_position(softmax, order)).view(*order.shape[:2], 3)
        cubes, cube_odds, loss = None, torch.zeros_like(softmax.odds), joints.new_zeros(())
        if joints_norm is not None and target is not None:
            cubes = joint_cubes(joints_norm.to(_accumulator(logits)), order, target)
            cube_sums = engine.cube_sums(volume, terms, softmax, cubes)
            loss, cube_odds = _heatmap_loss(softmax, cubes, cube_sums), cube_sums.odds
        ctx.save_for_backward(logits, *axis_logits)
        ctx.engine, ctx.order, ctx.softmax, ctx.cubes, ctx.cube_odds = engine, order, softmax, cubes, cube_odds
        return joints.to(_accumulator(logits)), loss.to(_accumulator(logits))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, joints_gradient: Tensor, loss_gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits, *axis_logits = ctx.saved_tensors
        order: MemoryOrder = ctx.order
        terms = terms_of(axis_logits, order, _accumulator(logits))
        tables = _gradient_tables(ctx, joints_gradient.double(), loss_gradient.double())
        gradient, of_terms = ctx.engine.gradient(order.to_memory(logits), terms, tables)
        return order.from_memory(gradient), None, None, None, *axis_gradients(of_terms, axis_logits, order)


def _accumulator(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _position(softmax: Softmax, order: MemoryOrder) -> Tensor:
    """(Q, 3) expected position along (A, B, K)."""
    peak = _peak_position(softmax, order)
    return peak + softmax.log_others.exp()[:, None] * (softmax.mean - peak)


def _peak_position(softmax: Softmax, order: MemoryOrder) -> Tensor:
    """(Q, 3) norm, centre of the peak's cell along (A, B, K)."""
    centers = [cell_centers_norm(cells, softmax.peak) for cells in order.cells]
    return torch.stack([centers[axis].index_select(0, softmax.peak_cells[:, axis]) for axis in range(3)], -1)


def _heatmap_loss(softmax: Softmax, cubes: JointCubes, cube_sums: CubeSums) -> Tensor:
    """The scalar loss."""
    at_peak = cubes.at(softmax.peak_cells)
    peak_loss = (1 - at_peak) * softmax.log_others + at_peak * softmax.log_peak
    # Weights are 0 outside the volume, but a logit that is not finite must show whatever the weight.
    return -(cubes.weights * (softmax.log_complement + cube_sums.loss + peak_loss)).sum()


def _gradient_tables(ctx: Any, joints_gradient: Tensor, loss_gradient: Tensor) -> GradientTables:
    softmax: Softmax = ctx.softmax
    order: MemoryOrder = ctx.order
    others, peak = softmax.log_others.exp(), softmax.log_peak.exp()
    towards = order.exchange_xyz(joints_gradient.flatten(0, 1))  # (Q, 3) along (A, B, K)
    position = _position(softmax, order)
    slope_a, slope_b, slope_k = (
        towards[:, axis, None] * (cell_centers_norm(num_cells, position) - position[:, axis, None])
        for axis, num_cells in enumerate(order.cells)
    )
    peak_gradient = peak * others * (towards * (_peak_position(softmax, order) - softmax.mean)).sum(-1)
    weight, pull, targets = torch.zeros_like(peak), torch.zeros_like(peak), None
    if ctx.cubes is not None:
        weight = loss_gradient * ctx.cubes.weights
        gap_at_peak = 1 - ctx.cubes.at(softmax.peak_cells) - others  # p_m - G_m
        sum_others = softmax.odds - ctx.cube_odds
        pull = weight * (gap_at_peak + others * sum_others)
        peak_gradient = peak_gradient + weight * (gap_at_peak - peak * sum_others)
        cells = (torch.arange(num_cells, device=weight.device) for num_cells in order.cells)
        along_a, along_b, along_k = (ctx.cubes.along(axis, places) for axis, places in enumerate(cells))
        targets = along_a * (weight * ctx.cubes.target.peak)[:, None], along_b, along_k
    return GradientTables(
        softmax.shift, softmax.log_sum, others, pull, weight, peak_gradient, softmax.peak_cells,
        slopes=(slope_a, slope_b, slope_k), targets=targets,
    )  # fmt: skip
