"""What published projects do, to measure against: written as they write it, not as it would be fastest.

Softmax over the reshaped volume and three sums: Sun et al. 2018 and the projects after it. Dense targets: the
source report and every project that trains heat maps, a volume a joint.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from integral_pose.heatmaps.reference import HeatmapTarget, target_cube


def volume_softmax(maps: Tensor, num_joints: int) -> Tensor:
    """Maps (B, J * D, H, W) -> probabilities (B, J, D, H, W). Copies where the maps are channels last."""
    batch, channels, height, width = maps.shape
    flat = maps.reshape(batch, num_joints, -1)
    return F.softmax(flat, dim=2).reshape(batch, num_joints, channels // num_joints, height, width)


def three_sums(probability: Tensor) -> Tensor:
    """Probabilities (B, J, D, H, W) -> expected positions (B, J, 3) in [-0.5, 0.5), cells counted from their edges."""
    axes = []
    for summed in ((2, 3), (2, 4), (3, 4)):
        marginal = probability.sum(dim=summed)
        index = torch.arange(marginal.shape[-1], device=marginal.device, dtype=marginal.dtype)
        axes.append((marginal * index).sum(-1) / marginal.shape[-1] - 0.5)
    return torch.stack(axes, -1)


def integral_loss(maps: Tensor, joints_norm: Tensor) -> Tensor:
    """Mean absolute error of the expected positions of maps (B, J * D, H, W)."""
    return (three_sums(volume_softmax(maps, joints_norm.shape[1])) - joints_norm).abs().mean()


def meshgrid_targets(joints_norm: Tensor, volume_shape: tuple[int, int, int], target: HeatmapTarget) -> Tensor:
    """(B, J, D, H, W): for each joint a grid of distances, the Gaussian of it, and the cube cut out."""
    depth, height, width = volume_shape
    z, y, x = torch.meshgrid(
        *(torch.arange(n, device=joints_norm.device) for n in (depth, height, width)), indexing="ij"
    )
    lengths = torch.tensor([width, height, depth], device=joints_norm.device)
    volumes = []
    for joint in torch.floor((joints_norm + 0.5) * lengths).flatten(0, 1):
        away = torch.stack([x - joint[0], y - joint[1], z - joint[2]])
        gaussian = target.peak * torch.exp(-(away**2).sum(0) / 2)
        volumes.append(torch.where((away.abs() <= target.radius).all(0), gaussian, gaussian.new_zeros(())))
    return torch.stack(volumes).view(*joints_norm.shape[:2], depth, height, width)


def broadcast_targets(joints_norm: Tensor, volume_shape: tuple[int, int, int], target: HeatmapTarget) -> Tensor:
    """The same volumes as the product of three one-dimensional Gaussians: the best dense form."""
    return target_cube(joints_norm, volume_shape, target)[0]


def integral_and_heatmap_loss(
    maps: Tensor, joints_norm: Tensor, target_volumes: Tensor, heatmap_weight: float = 1.0
) -> Tensor:
    """Integral loss and the cross-entropy with dense targets (B, J, D, H, W), summed over voxels."""
    probability = volume_softmax(maps, joints_norm.shape[1])
    joints = joints_norm.shape[0] * joints_norm.shape[1]
    heatmap = F.binary_cross_entropy(probability, target_volumes, reduction="sum") / joints
    return (three_sums(probability) - joints_norm).abs().mean() + heatmap_weight * heatmap
