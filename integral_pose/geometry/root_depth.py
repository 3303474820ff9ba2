"""How far away a person is, told by how long the bones would be there: for picture coordinates without a known root."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NEAREST_MM = 1.0  # of any joint: all are in front of the camera
BISECTION_ROUNDS = 64  # each halves the interval; float64 has 53 bits


def root_depth_by_bone_length(
    joints_plane: Tensor,
    relative_depth_mm: Tensor,
    bones: Sequence[tuple[int, int]],
    total_bone_length_mm: float,
    root: int,
) -> Tensor:
    """The depth (B,) mm of the root joint at which the bones together are `total_bone_length_mm` long.

    joints_plane (B, J, 2) are x / z and y / z, the lens undone; relative_depth_mm (B, J) count along z, from the
    root's own or from any other depth, since the root's is subtracted; bones are pairs of joint indices.

    With u, v, w of a bone, its length at root depth Z is |(Z u + v, w)|: the sum is convex in Z. Where it has the
    asked length twice, the farther depth is meant: nearer, a person who steps back would shrink. Where it is longer
    everywhere, as relative depths alone can make it, the depth at which it is least. NaN for a pose with all bones
    along rays, which looks the same from everywhere, and for NaN.
    """
    if not bones or total_bone_length_mm <= 0:
        raise ValueError(f"expected bones and their length, found {len(bones)} and {total_bone_length_mm:g} mm")
    depth_mm = relative_depth_mm - relative_depth_mm[:, root : root + 1]
    starts, ends = ([bone[side] for bone in bones] for side in (0, 1))
    u = joints_plane[:, ends] - joints_plane[:, starts]
    lifted_mm = joints_plane * depth_mm[..., None]
    v_mm = lifted_mm[:, ends] - lifted_mm[:, starts]
    w_mm = depth_mm[:, ends] - depth_mm[:, starts]

    def is_too_near(root_depth_mm: Tensor) -> Tensor:
        """Whether the sum falls, or is too short, at (B,) root depths: true up to the answer, then false."""
        across_mm = root_depth_mm[:, None, None] * u + v_mm
        length_mm = (across_mm.square().sum(-1) + w_mm.square()).sqrt()
        slope = ((across_mm * u).sum(-1) / length_mm.clamp_min(torch.finfo(u.dtype).tiny)).sum(-1)
        return (slope < 0) | (length_mm.sum(-1) < total_bone_length_mm)

    near = NEAREST_MM - depth_mm.amin(-1)
    # Beyond `far` each bone grows, and by the triangle inequality the sum is not shorter than asked.
    far = (total_bone_length_mm + v_mm.norm(dim=-1).sum(-1)) / u.norm(dim=-1).sum(-1)
    shortest_at_mm = torch.where((square := u.square().sum(-1)) > 0, -(u * v_mm).sum(-1) / square, 0.0)
    far = torch.maximum(torch.maximum(far, shortest_at_mm.amax(-1)), near)
    found = torch.where(far.isfinite(), far, torch.nan)
    for _ in range(BISECTION_ROUNDS):
        middle = (near + found) / 2
        too_near = is_too_near(middle)
        near, found = torch.where(too_near, middle, near), torch.where(too_near, found, middle)
    return found
