"""The cube round each true joint, as three short vectors; the volume of the target is never built."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from integral_pose.geometry.coordinates import joints_norm_to_cell
from integral_pose.heatmaps.backends.memory_order import AlongAxes, MemoryOrder, axis_steps, joint_offsets
from integral_pose.heatmaps.reference import HeatmapTarget


@dataclass(frozen=True)
class JointCubes:
    """The targets of Q joints, each a product of three Gaussians along the axes A, B, K of the volume."""

    cells: Tensor  # (Q, 3) int64, the joint's cell along (A, B, K); may lie outside
    weights: Tensor  # (Q,) float64: share of each joint's cross-entropy in the loss, 0 outside the volume
    target: HeatmapTarget

    def along(self, axis: int, cells: Tensor) -> Tensor:
        """Factor of the target at `cells`, (n,) or (Q, n), along one axis: (Q, n) float64."""
        distance = (cells - self.cells[:, axis, None]).abs().clamp(max=self.target.radius + 1)
        heights = [math.exp(-(cell**2) / 2) for cell in range(self.target.radius + 1)]
        table = torch.tensor([*heights, 0.0], dtype=torch.float64, device=distance.device)
        # Not exp and not table[distance]: on a busy machine these wait for threads longer than all the rest takes.
        return table.index_select(0, distance.flatten()).view_as(distance)

    def at(self, cells: Tensor) -> Tensor:
        """Target (Q,) float64 at one voxel of each joint, `cells` (Q, 3) along (A, B, K)."""
        factors = [self.along(axis, cells[:, axis, None])[:, 0] for axis in range(3)]
        return self.target.peak * factors[0] * factors[1] * factors[2]


class CubeWindow(NamedTuple):
    """The voxels in reach of each target: as wide as the cube or the volume, pushed inside, no voxel twice.

    The target there is the product of the factors, 0 outside the radius.
    """

    starts: Tensor  # (Q, 3) int64, first cell along (A, B, K)
    factors: tuple[Tensor, Tensor, Tensor]  # (Q, span) float64 along A, B, K; the first includes the peak's height


def joint_cubes(joints_norm: Tensor, order: MemoryOrder, target: HeatmapTarget) -> JointCubes:
    """Cubes round `joints_norm` (B, J, 3)."""
    cells, inside = joints_norm_to_cell(joints_norm, order.shape[2:])
    scale = inside.numel() * (math.prod(order.cells) if target.reduction == "mean" else 1)
    return JointCubes(order.exchange_xyz(cells.flatten(0, 1)), inside.flatten().double() / scale, target)


def cube_window(cubes: JointCubes, volume: Tensor) -> CubeWindow:
    """The window of each joint of a (N, A, B, G, K) volume."""
    starts, factors = [], []
    for axis, length in enumerate((volume.shape[1], volume.shape[2], volume.shape[4])):
        span = min(2 * cubes.target.radius + 1, length)
        start = (cubes.cells[:, axis] - cubes.target.radius).clamp(0, length - span)
        starts.append(start)
        factors.append(cubes.along(axis, start[:, None] + torch.arange(span, device=volume.device)))
    along_a, along_b, along_k = factors
    return CubeWindow(torch.stack(starts, -1), (cubes.target.peak * along_a, along_b, along_k))


def window_sums(window: CubeWindow, tables: AlongAxes) -> Tensor:
    """(Q, n) sum of the `tables` (Q, cells) along A, B, K at the voxels of each window."""
    parts = []
    for axis, (table, factor) in enumerate(zip(tables, window.factors, strict=True)):
        cells = window.starts[:, axis, None] + torch.arange(factor.shape[-1], device=table.device)
        parts.append(table.gather(1, cells))
    along_a, along_b, along_k = parts
    return (along_a[:, :, None, None] + along_b[:, None, :, None] + along_k[:, None, None, :]).flatten(1)


def window_voxels(window: CubeWindow, volume: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets in memory (Q, n) int64 of the voxels of each window, and the target there (Q, n) float64."""
    offsets = joint_offsets(volume)[:, None, None, None]
    target = torch.ones_like(offsets, dtype=torch.float64)
    for axis, (factor, step) in enumerate(zip(window.factors, axis_steps(volume), strict=True)):
        spread = [-1, 1, 1, 1]
        spread[axis + 1] = factor.shape[-1]
        cells = window.starts[:, axis, None] + torch.arange(factor.shape[-1], device=volume.device)
        offsets = offsets + (cells * step).view(spread)
        target = target * factor.view(spread)
    return offsets.flatten(1), target.flatten(1)
