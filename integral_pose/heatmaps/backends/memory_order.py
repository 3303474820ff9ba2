"""The memory layout of logits, so that neither reading them nor writing their gradient copies them.

A head's output (B, J * D, H, W), seen as (B, J, D, H, W), is contiguous in that order (NCHW), or, channels last,
as (B, H, W, J, D). Both are (N, A, B, G, K): three axes of the volume from the slowest to the fastest, A, B
and K, with the joints either before them (N = batch * joints, G = 1) or inside them (N = batch, G = joints).
Joint q = n * G + g is then the joint of the batch in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from integral_pose.geometry.constants_on_device import vector_like

AlongAxes = tuple[Tensor, Tensor, Tensor]  # a tensor an axis

_CHANNELS_LAST = (0, 3, 4, 1, 2)  # (B, J, D, H, W) <-> (B, H, W, J, D): its own inverse
_BLOCK_VOXELS = 1 << 18  # 1 MiB of float32: what an eager pass leaves in the second level cache


@dataclass(frozen=True)
class MemoryOrder:
    """How (B, J, D, H, W) logits lie in memory."""

    shape: tuple[int, ...]  # (B, J, D, H, W)
    channels_last: bool

    @classmethod
    def of(cls, logits: Tensor) -> MemoryOrder:
        """The order of (B, J, D, H, W) logits; any other than the two is copied to NCHW."""
        is_nchw = logits.is_contiguous()
        return cls(tuple(logits.shape), not is_nchw and logits.permute(_CHANNELS_LAST).is_contiguous())

    @property
    def axes_xyz(self) -> tuple[int, int, int]:
        """Which coordinate (0 = x, 1 = y, 2 = z) runs along A, B and K; its own inverse."""
        return (1, 0, 2) if self.channels_last else (2, 1, 0)

    def exchange_xyz(self, positions: Tensor) -> Tensor:
        """(.., 3) along (x, y, z) <-> (.., 3) along (A, B, K)."""
        return torch.stack([positions[..., axis] for axis in self.axes_xyz], -1)

    def exchange_axes(self, per_axis: Sequence[Tensor]) -> AlongAxes:
        """Tensors of the axes x, y, z <-> those of A, B, K."""
        first, second, third = (per_axis[axis] for axis in self.axes_xyz)
        return first, second, third

    @property
    def cells(self) -> tuple[int, int, int]:
        """Cells along A, B and K."""
        depth, height, width = self.shape[2:]
        return (height, width, depth) if self.channels_last else (depth, height, width)

    def to_memory(self, logits: Tensor) -> Tensor:
        """(B, J, D, H, W) -> (N, A, B, G, K) contiguous; a view where the logits lie in this order."""
        batch, joints = self.shape[:2]
        if self.channels_last:
            return logits.permute(_CHANNELS_LAST)
        return logits.contiguous().view(batch * joints, *self.cells[:2], 1, self.cells[2])

    def from_memory(self, volume: Tensor) -> Tensor:
        """(N, A, B, G, K) -> (B, J, D, H, W), a view."""
        return volume.permute(_CHANNELS_LAST) if self.channels_last else volume.view(self.shape)


def joint_offsets(volume: Tensor) -> Tensor:
    """(Q,) position in memory of each joint's first voxel in a (N, A, B, G, K) volume."""
    num_volumes, *cells, num_joints, length = volume.shape
    volumes = torch.arange(num_volumes, device=volume.device)[:, None] * (cells[0] * cells[1] * num_joints * length)
    return (volumes + torch.arange(num_joints, device=volume.device) * length).flatten()


def axis_steps(volume: Tensor) -> tuple[int, int, int]:
    """Elements between neighbours along A, B and K in a (N, A, B, G, K) volume."""
    _, _, cells_b, num_joints, cells_k = volume.shape
    return cells_b * num_joints * cells_k, num_joints * cells_k, 1


def voxel_offsets(cells: Tensor, volume: Tensor) -> Tensor:
    """(Q,) places in memory of one voxel a joint, `cells` (Q, 3) along (A, B, K)."""
    return joint_offsets(volume) + (cells * vector_like(cells, axis_steps(volume))).sum(-1)


def joint_blocks(volume: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """A (N, A, B, G, K) volume in blocks that fit a cache: a range of joints, and their (q, A, B, K) view."""
    _, cells_a, cells_b, num_joints, cells_k = volume.shape
    size = max(1, _BLOCK_VOXELS // (cells_a * cells_b * cells_k))
    joints = volume.movedim(3, 1)  # (N, G, A, B, K)
    for index, part in enumerate(joints.movedim(1, 0) if num_joints == 1 else joints):
        for start in range(0, len(part), size):
            block = part[start : start + size]
            first = index * len(part) + start
            yield slice(first, first + len(block)), block
