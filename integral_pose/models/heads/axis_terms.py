"""Logits along single axes, added to a volume: what regression would say, times what the map sees.

    logits(x, y, z) = convolution(x, y, z) + a_x(x) + a_y(y) + a_z(z)

The terms are linear in the pooled features, with zero weights and, as bias, the logarithm of a Gaussian with the
training poses' mean and deviation: an untrained network predicts the mean pose.
"""

import torch
from torch import Tensor, nn

from integral_pose.geometry.coordinates import axis_lengths_xyz, cell_centers_norm

LEAST_STD_NORM = 0.04  # 9 cm in a volume of 2.2 m: the root never moves, and narrower priors have steep logits


class AxisTerms(nn.Module):
    """`volume_shape` is (D, H, W); mean_norm and std_norm are (J, 3) in the volume's units, (x, y, z)."""

    def __init__(self, channels: int, volume_shape: tuple[int, int, int], mean_norm: Tensor, std_norm: Tensor) -> None:
        super().__init__()
        self.num_joints, self.lengths = len(mean_norm), axis_lengths_xyz(volume_shape)
        self.linear = nn.Linear(channels, self.num_joints * sum(self.lengths))
        nn.init.zeros_(self.linear.weight)
        with torch.no_grad():
            self.linear.bias.copy_(_log_gaussians(self.lengths, mean_norm, std_norm).flatten())

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, J, D, H, W), the sum of the three terms."""
        terms = self.linear(features.mean((-2, -1))).unflatten(1, (self.num_joints, sum(self.lengths)))
        along_x, along_y, along_z = terms.split(self.lengths, dim=-1)
        return along_z[..., :, None, None] + along_y[..., None, :, None] + along_x[..., None, None, :]


def _log_gaussians(lengths: tuple[int, int, int], mean_norm: Tensor, std_norm: Tensor) -> Tensor:
    """(J, W + H + D): logarithms of Gaussians at the cell centres of each axis, up to a constant."""
    std_norm = std_norm.clamp(min=LEAST_STD_NORM)
    along = [
        -0.5 * ((cell_centers_norm(cells, mean_norm) - mean_norm[:, axis, None]) / std_norm[:, axis, None]) ** 2
        for axis, cells in enumerate(lengths)
    ]
    return torch.cat(along, -1)
