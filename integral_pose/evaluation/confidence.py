"""How sure a heat map is of its joint, by its own shape: a distribution that is narrow and in one place."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integral_pose.geometry.coordinates import axis_lengths_xyz, norm_to_voxel


def heatmap_confidence(logits: Tensor, joints_norm: Tensor, radius_cells: float) -> tuple[Tensor, Tensor]:
    """Logits (B, J, D, H, W) and their expectations (B, J, 3) norm -> mass (B, J) and entropy (B, J), float32.

    The mass is what lies in cells whose centres are at most `radius_cells` from the expectation. The entropy is
    over the logarithm of the number of cells: 0 is all in one cell, 1 is flat.
    """
    p = logits.float().flatten(2).softmax(-1)
    entropy = torch.special.entr(p).sum(-1) / math.log(p.shape[-1])
    depth, height, width = logits.shape[2:]
    x, y, z = (
        torch.arange(n, device=p.device) - norm_to_voxel(joints_norm[..., axis, None].float(), n)
        for axis, n in enumerate(axis_lengths_xyz((depth, height, width)))
    )
    square = (z * z)[..., :, None, None] + (y * y)[..., None, :, None] + (x * x)[..., None, None, :]
    inside = square.flatten(2) <= radius_cells**2
    return (p * inside).sum(-1), entropy.clamp(0, 1)
