"""The volume operator on CUDA: three Triton kernels, two forward and one backward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from integral_pose.heatmaps.backends import triton_kernels as kernels
from integral_pose.heatmaps.backends.cube import JointCubes, joint_cubes
from integral_pose.heatmaps.backends.memory_order import MemoryOrder
from integral_pose.heatmaps.reference import HeatmapTarget

# Voxels of a tile, small enough that ptxas gives a thread about 96 registers and spills none: several tiles share a
# processor, and one computes while another waits for memory.
_READ_VOXELS = 4096
_WRITE_VOXELS = 2048
_WARPS = 4
_NO_TARGET = HeatmapTarget(peak=0.0, radius=0)


@dataclass(frozen=True)
class _Tiling:
    """How the voxels of a joint are cut: whole rows along K, as many as fit."""

    shape: torch.Size  # N, A, B, G, K
    voxels: int

    @property
    def padded_k(self) -> int:
        return triton.next_power_of_2(self.shape[4])

    @property
    def rows(self) -> int:
        fitting = max(1, self.voxels // self.padded_k)
        return min(fitting, triton.next_power_of_2(self.shape[1] * self.shape[2]))

    @property
    def num_tiles(self) -> int:
        return triton.cdiv(self.shape[1] * self.shape[2], self.rows)

    @property
    def num_joints(self) -> int:
        return self.shape[0] * self.shape[3]

    def constants(self, cubes: JointCubes | None) -> dict[str, Any]:
        """What the kernels are compiled for; never the batch."""
        return {
            "SHAPE": tuple(self.shape[1:]),
            "WITH_LOSS": cubes is not None,
            "TILE_ROWS": self.rows,
            "PADDED_K": self.padded_k,
        }


def read_volume_with_triton(
    logits: Tensor, joints_norm: Tensor | None, target: HeatmapTarget | None
) -> tuple[Tensor, Tensor]:
    """Expected positions (B, J, 3) norm and heat map loss (0 without a target) of (B, J, D, H, W) logits."""
    joints, loss = _TritonVolume.apply(logits, joints_norm, target)
    return joints, loss


class _TritonVolume(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, joints_norm: Tensor | None, target: HeatmapTarget | None
    ) -> tuple[Tensor, Tensor]:
        order = MemoryOrder.of(logits)
        volume = order.to_memory(logits)
        with torch.cuda.device_of(logits):
            cubes = None
            if joints_norm is not None and target is not None:
                cubes = joint_cubes(joints_norm.float(), order, target)
            values, peaks, cells = _softmax(volume, cubes)
        loss = values.new_zeros(())
        if cubes is not None:
            # Weights are 0 outside the volume, but a logit that is not finite must show whatever the weight.
            loss = (cubes.weights.float() * values[:, kernels.LOSS.value]).sum()
        ctx.save_for_backward(logits, values, peaks, cells)
        ctx.order, ctx.cubes = order, cubes
        position = values[:, kernels.POSITION.value : kernels.POSITION.value + 3]
        return order.exchange_xyz(position).view(*order.shape[:2], 3), loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, joints_gradient: Tensor, loss_gradient: Tensor) -> tuple[Tensor, None, None]:
        logits, values, peaks, cells = ctx.saved_tensors
        order: MemoryOrder = ctx.order
        towards = order.exchange_xyz(joints_gradient.flatten(0, 1).float())
        weights = values.new_zeros(len(values)) if ctx.cubes is None else loss_gradient * ctx.cubes.weights.float()
        with torch.cuda.device_of(logits):
            gradient = _gradient(order.to_memory(logits), values, peaks, cells, towards, weights, ctx.cubes)
        return order.from_memory(gradient), None, None


def _softmax(volume: Tensor, cubes: JointCubes | None) -> tuple[Tensor, Tensor, Tensor]:
    """Each joint's values (Q, fields), its peak's index (Q,), and the true cells (Q, 3) int32 along (A, B, K)."""
    tiling = _Tiling(volume.shape, _READ_VOXELS)
    num_joints, num_tiles = tiling.num_joints, tiling.num_tiles
    tile_sums = volume.new_empty(num_joints, kernels.TILE_FIELDS.value, num_tiles, dtype=torch.float32)
    tile_places = volume.new_empty(num_joints, num_tiles, dtype=torch.int32)
    values = volume.new_empty(num_joints, kernels.JOINT_FIELDS.value, dtype=torch.float32)
    peaks = volume.new_empty(num_joints, dtype=torch.int32)
    cells = peaks.new_empty(0) if cubes is None else cubes.cells.int().contiguous()
    target = _NO_TARGET if cubes is None else cubes.target
    constants = tiling.constants(cubes)
    kernels.sum_tiles[(num_joints * num_tiles,)](
        volume, tile_sums, tile_places, num_tiles, **constants, num_warps=_WARPS
    )
    padded_tiles = triton.next_power_of_2(num_tiles)
    arguments = (volume, tile_sums, tile_places, cells, values, peaks, num_tiles, target.peak)
    kernels.merge_tiles[(num_joints,)](
        *arguments, **constants, RADIUS=target.radius, PADDED_TILES=padded_tiles, num_warps=_WARPS
    )
    return values, peaks, cells


def _gradient(
    volume: Tensor,
    values: Tensor,
    peaks: Tensor,
    cells: Tensor,
    towards: Tensor,
    weights: Tensor,
    cubes: JointCubes | None,
) -> Tensor:
    tiling = _Tiling(volume.shape, _WRITE_VOXELS)
    target = _NO_TARGET if cubes is None else cubes.target
    gradient = torch.empty_like(volume)
    arguments = (volume, values, peaks, cells, towards, weights, gradient, tiling.num_tiles, target.peak)
    kernels.write_gradient[(tiling.num_joints * tiling.num_tiles,)](
        *arguments, **tiling.constants(cubes), RADIUS=target.radius, num_warps=_WARPS
    )
    return gradient
