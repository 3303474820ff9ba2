"""Distance or scale of a person from the known length of the bones, for poses in pixels of a picture."""

from collections.abc import Sequence

import torch
from torch import Tensor

from integral_pose.geometry.constants_on_device import joints_in_order

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
    root's own or from any other depth, since the root's is subtracted; bones are pairs of joint indices. Which of
    several answers is meant, as `scale_by_bone_length`; no joint comes nearer than NEAREST_MM. NaN for a pose with
    all bones along rays, which looks the same from everywhere.
    """
    depth_mm = (relative_depth_mm - relative_depth_mm[:, root : root + 1])[..., None]
    rays = torch.cat([joints_plane, torch.zeros_like(depth_mm)], -1)  # how a joint moves when the root steps back
    offsets_mm = torch.cat([joints_plane * depth_mm, depth_mm], -1)
    return scale_by_bone_length(rays, offsets_mm, bones, total_bone_length_mm, NEAREST_MM - depth_mm.amin((-2, -1)))


def scale_by_bone_length(
    variable: Tensor,
    fixed_mm: Tensor,
    bones: Sequence[tuple[int, int]],
    total_bone_length_mm: float,
    least: Tensor,
) -> Tensor:
    """The s (B,), at least `least` (B,), at which joints s * variable + fixed_mm (B, J, 3) have bones that long.

    The sum of the lengths is convex in s. Where it is as asked twice, the larger s is meant: at the smaller, a person
    who steps back would shrink. Where it is longer everywhere, the s at which it is least. NaN where s changes nothing,
    and for NaN.
    """
    if not bones or total_bone_length_mm <= 0:
        raise ValueError(f"expected bones and their length, found {len(bones)} and {total_bone_length_mm:g} mm")
    starts, ends = ([bone[side] for bone in bones] for side in (0, 1))
    u, v_mm = (joints_in_order(points, ends) - joints_in_order(points, starts) for points in (variable, fixed_mm))

    def is_too_small(s: Tensor) -> Tensor:
        """Whether the sum falls, or is too short, at (B,) values: true up to the answer, then false."""
        bone_mm = s[:, None, None] * u + v_mm
        length_mm = bone_mm.square().sum(-1).sqrt()
        slope = ((bone_mm * u).sum(-1) / length_mm.clamp_min(torch.finfo(u.dtype).tiny)).sum(-1)
        return (slope < 0) | (length_mm.sum(-1) < total_bone_length_mm)

    small = least
    large = torch.maximum(_beyond_answer(u, v_mm, total_bone_length_mm), small)
    found = torch.where(large.isfinite(), large, torch.nan)
    for _ in range(BISECTION_ROUNDS):
        middle = (small + found) / 2
        too_small = is_too_small(middle)
        small, found = torch.where(too_small, middle, small), torch.where(too_small, found, middle)
    return found


def _beyond_answer(u: Tensor, v_mm: Tensor, total_bone_length_mm: float) -> Tensor:
    """An s (B,) from which on each bone s * u + v_mm grows, and by the triangle inequality the sum is long enough."""
    long_enough = (total_bone_length_mm + v_mm.norm(dim=-1).sum(-1)) / u.norm(dim=-1).sum(-1)
    shortest_at = torch.where((square := u.square().sum(-1)) > 0, -(u * v_mm).sum(-1) / square, 0.0)
    return torch.maximum(long_enough, shortest_at.amax(-1))
