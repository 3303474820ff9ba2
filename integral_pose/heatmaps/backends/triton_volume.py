"""The volume operator on CUDA: three Triton kernels, two forward and one backward."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from integral_pose.contracts import AxisLogits
from integral_pose.heatmaps.backends import triton_kernels as kernels
from integral_pose.heatmaps.backends.cube import JointCubes, joint_cubes
from integral_pose.heatmaps.backends.fused import axis_gradients, terms_of
from integral_pose.heatmaps.backends.memory_order import AlongAxes, MemoryOrder
from integral_pose.heatmaps.reference import HeatmapTarget

# Voxels of a tile, few enough that ptxas spills none: 89 to 96 registers a thread where a tile is read and 94 to 119
# where its gradient is written (capability 8.0 to 10.0). Several tiles share a processor, and one computes while
# another waits for memory.
_READ_VOXELS = 4096
_WRITE_VOXELS = 2048
_OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}  # products are added without being rounded
_MERGE_WARPS = 8  # it reads tiles of the larger kind again, with more at hand for each voxel
_NO_TARGET = HeatmapTarget(peak=0.0, radius=0)


def read_volume_with_triton(
    logits: Tensor, joints_norm: Tensor | None, target: HeatmapTarget | None, axis_logits: AxisLogits | None
) -> tuple[Tensor, Tensor]:
    """Expected positions (B, J, 3) norm and heat map loss (0 without a target) of (B, J, D, H, W) logits."""
    joints, loss = _TritonVolume.apply(logits, joints_norm, target, *(axis_logits or ()))
    return joints, loss


class _TritonVolume(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, joints_norm: Tensor | None, target: HeatmapTarget | None, *axis_logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        order = MemoryOrder.of(logits)
        volume, terms = order.to_memory(logits), _rows(axis_logits, order)
        with torch.cuda.device_of(logits):
            cubes = None
            if joints_norm is not None and target is not None:
                cubes = joint_cubes(joints_norm.float(), order, target)
            values, peaks, cells = _softmax(volume, terms, cubes)
        loss = values.new_zeros(())
        if cubes is not None:
            # Weights are 0 outside the volume, but a logit that is not finite must show whatever the weight.
            loss = (cubes.weights.float() * values[:, kernels.LOSS.value]).sum()
        ctx.save_for_backward(logits, values, peaks, cells, *axis_logits)
        ctx.order, ctx.cubes = order, cubes
        position = values[:, kernels.POSITION.value : kernels.POSITION.value + 3]
        return order.exchange_xyz(position).view(*order.shape[:2], 3), loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, joints_gradient: Tensor, loss_gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits, values, peaks, cells, *axis_logits = ctx.saved_tensors
        order: MemoryOrder = ctx.order
        cubes: JointCubes | None = ctx.cubes
        volume, terms = order.to_memory(logits), _rows(axis_logits, order)
        towards = order.exchange_xyz(joints_gradient.flatten(0, 1).float())
        weights = values.new_zeros(len(values)) if cubes is None else loss_gradient * cubes.weights.float()
        target = _NO_TARGET if cubes is None else cubes.target
        num_joints, num_tiles, constants = _tiling(volume, _WRITE_VOXELS, cubes, terms)
        cells_a, cells_b, cells_k = order.cells
        with torch.cuda.device_of(logits):
            gradient = torch.empty_like(volume)
            row_sums = values.new_empty((num_joints, cells_a, cells_b) if axis_logits else 0)
            sums_along_k = values.new_empty((num_joints, num_tiles, cells_k) if axis_logits else 0)
            arguments = (volume, terms, values, peaks, cells, towards, weights, gradient, row_sums, sums_along_k)
            launch = kernels.write_gradient[(num_joints * num_tiles,)]
            launch(*arguments, num_tiles, target.peak, **constants, RADIUS=target.radius)
        of_terms = (row_sums.sum(2), row_sums.sum(1), sums_along_k.sum(1)) if axis_logits else None
        return order.from_memory(gradient), None, None, *axis_gradients(of_terms, axis_logits, order)


def _rows(axis_logits: Sequence[Tensor], order: MemoryOrder) -> Tensor | None:
    """Terms as the kernels take them: one row a joint."""
    terms: AlongAxes | None = terms_of(axis_logits, order, torch.float32)
    return None if terms is None else torch.cat(terms, -1)


def _softmax(volume: Tensor, terms: Tensor | None, cubes: JointCubes | None) -> tuple[Tensor, Tensor, Tensor]:
    """Each joint's values (Q, fields), its peak's index (Q,), and the true cells (Q, 3) int32 along (A, B, K)."""
    num_joints, num_tiles, constants = _tiling(volume, _READ_VOXELS, cubes, terms)
    tile_sums = volume.new_empty(num_joints, kernels.TILE_FIELDS.value, num_tiles, dtype=torch.float32)
    tile_places = volume.new_empty(num_joints, num_tiles, dtype=torch.int32)
    values = volume.new_empty(num_joints, kernels.JOINT_FIELDS.value, dtype=torch.float32)
    peaks = volume.new_empty(num_joints, dtype=torch.int32)
    cells = peaks.new_empty(0) if cubes is None else cubes.cells.int().contiguous()
    target = _NO_TARGET if cubes is None else cubes.target
    kernels.sum_tiles[(num_joints * num_tiles,)](volume, terms, tile_sums, tile_places, num_tiles, **constants)
    arguments = (volume, terms, tile_sums, tile_places, cells, values, peaks, num_tiles, target.peak)
    padded_tiles = triton.next_power_of_2(num_tiles)
    constants |= {"RADIUS": target.radius, "PADDED_TILES": padded_tiles, "num_warps": _MERGE_WARPS}
    kernels.merge_tiles[(num_joints,)](*arguments, **constants)
    return values, peaks, cells


def _tiling(
    volume: Tensor, tile_voxels: int, cubes: JointCubes | None, terms: Tensor | None
) -> tuple[int, int, dict[str, Any]]:
    """Joints, tiles of each, and what the kernels are compiled for, never the batch.

    A tile is as many whole rows along K as fit.
    """
    num_volumes, *shape = volume.shape
    cells_a, cells_b, joints, cells_k = shape
    padded_k = triton.next_power_of_2(cells_k)
    rows = min(max(1, tile_voxels // padded_k), triton.next_power_of_2(cells_a * cells_b))
    has = {"WITH_LOSS": cubes is not None, "WITH_TERMS": terms is not None}
    constants = {"SHAPE": tuple(shape), "TILE_ROWS": rows, "PADDED_K": padded_k, **has, **_OPTIONS}
    return num_volumes * joints, triton.cdiv(cells_a * cells_b, rows), constants
