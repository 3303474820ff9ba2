"""The cube round each true joint, as three short vectors; the volume of the target is never built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from integral_pose.geometry.coordinates import joints_norm_to_cell
from integral_pose.kernels.memory_order import MemoryOrder, axis_steps, joint_offsets
from integral_pose.kernels.reference import HeatmapTarget


@dataclass(frozen=True)
class JointCubes:
    """The targets of Q joints, each a product of three Gaussians along the axes A, B, K of the volume."""

    cells: Tensor  # (Q, 3) int64, the joint's cell along (A, B, K); may lie outside
    weights: Tensor  # (Q,) float64: share of each joint's cross-entropy in the loss, 0 outside the volume
    target: HeatmapTarget

    def along(self, axis: int, cells: Tensor) -> Tensor:
        """Factor of the target at `cells`, (n,) or (Q, n), along one axis: (Q, n) float64."""
        distance = (cells - self.cells[:, axis, None]).double()
        return torch.exp(-(distance**2) / 2) * (distance.abs() <= self.target.radius)

    def at(self, cells: Tensor) -> Tensor:
        """Target (Q,) float64 at one voxel of each joint, `cells` (Q, 3) along (A, B, K)."""
        factors = [self.along(axis, cells[:, axis, None])[:, 0] for axis in range(3)]
        return self.target.peak * factors[0] * factors[1] * factors[2]


class CubeVoxels(NamedTuple):
    """The voxels in reach of each joint's target, cut at the border of the volume; n of them for every joint."""

    offsets: Tensor  # (Q, n) int64, places in memory
    target: Tensor  # (Q, n) float64


def joint_cubes(joints_norm: Tensor, order: MemoryOrder, target: HeatmapTarget) -> JointCubes:
    """Cubes round `joints_norm` (B, J, 3)."""
    cells, inside = joints_norm_to_cell(joints_norm, order.shape[2:])
    num_voxels = order.cells[0] * order.cells[1] * order.cells[2]
    scale = inside.numel() * (num_voxels if target.reduction == "mean" else 1)
    return JointCubes(cells.flatten(0, 1)[:, order.axes_xyz], inside.flatten().double() / scale, target)


def cube_voxels(cubes: JointCubes, volume: Tensor) -> CubeVoxels:
    """A window as wide as the cube, or the volume, pushed inside: no voxel twice, 0 outside the radius."""
    offsets = joint_offsets(volume)[:, None, None, None]
    target = torch.full_like(offsets, cubes.target.peak, dtype=torch.float64)
    axis_lengths = (volume.shape[1], volume.shape[2], volume.shape[4])
    for axis, (length, step) in enumerate(zip(axis_lengths, axis_steps(volume), strict=True)):
        span = min(2 * cubes.target.radius + 1, length)
        start = (cubes.cells[:, axis, None] - cubes.target.radius).clamp(0, length - span)
        window = start + torch.arange(span, device=volume.device)
        spread = [-1, 1, 1, 1]
        spread[axis + 1] = span
        offsets = offsets + (window * step).view(spread)
        target = target * cubes.along(axis, window).view(spread)
    return CubeVoxels(offsets.flatten(1), target.flatten(1))
