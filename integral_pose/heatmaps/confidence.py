"""How sure a network is of a joint, read off its heat map: how much of it lies near the joint, and how flat it is."""

import math

import torch
from torch import Tensor

from integral_pose.geometry.coordinates import axis_lengths_xyz, norm_to_voxel

RADIUS_CELLS = 3.0  # of what `test` writes: about 10 cm in a volume of 64 cells over 2.2 m


def heatmap_confidence(logits: Tensor, joints_norm: Tensor, radius_cells: float) -> tuple[Tensor, Tensor]:
    """Mass and entropy (B, J) of the softmax over each joint's volume; logits (B, J, D, H, W), joints_norm (B, J, 3).

    The mass, 0 to 1, is that of the cells whose centres lie within `radius_cells` of the joint, on it included. The
    entropy is over that of a flat volume: 0 where all is in one cell, 1 where all cells have the same. Neither is a
    probability of being right. Worked in float32 at least, a sample at a time: a batch of volumes fills gigabytes.
    """
    if logits.ndim != 5 or joints_norm.shape != (*logits.shape[:2], 3):
        raise ValueError(
            f"expected logits (B, J, D, H, W) and joints (B, J, 3), found {tuple(logits.shape)} and "
            f"{tuple(joints_norm.shape)}"
        )
    found = [_of_sample(own, joints, radius_cells) for own, joints in zip(logits, joints_norm, strict=True)]
    if not found:
        return joints_norm.new_zeros(logits.shape[:2]), joints_norm.new_zeros(logits.shape[:2])
    mass, entropy = zip(*found, strict=True)
    return torch.stack(mass), torch.stack(entropy)


def _of_sample(logits: Tensor, joints_norm: Tensor, radius_cells: float) -> tuple[Tensor, Tensor]:
    """As above for logits (J, D, H, W) and joints (J, 3)."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    probability = logits.to(dtype).flatten(1).softmax(-1).view(logits.shape)
    along_x, along_y, along_z = (
        (torch.arange(cells, device=logits.device) - norm_to_voxel(joints_norm[:, axis, None].to(dtype), cells)) ** 2
        for axis, cells in enumerate(axis_lengths_xyz(logits.shape[1:]))
    )
    distance = along_z[:, :, None, None] + along_y[:, None, :, None] + along_x[:, None, None, :]
    mass = torch.where(distance <= radius_cells**2, probability, 0.0).flatten(1).sum(-1)
    # entr(0) is 0. One cell alone cannot be flat.
    entropy = torch.special.entr(probability).flatten(1).sum(-1) / math.log(max(2, logits[0].numel()))
    return mass.clamp(max=1.0), entropy.clamp(max=1.0)  # sums of rounded shares
