"""How broad a heat map is, and a loss on it (Nibali et al., Numerical Coordinate Regression with CNNs, 2018).

Their equation for three axes: sum over axes (variance - target^2)^2, in norm units, where the volume's side is 1. With
them it is 2, so that the same weight counts 16 times as much.
"""

from dataclasses import dataclass

from torch import Tensor

from integral_pose.contracts import NetworkOutput
from integral_pose.geometry.constants_on_device import vector_like
from integral_pose.geometry.coordinates import axis_lengths_xyz, cell_centers_norm
from integral_pose.heatmaps.marginals import Marginals, along_axes, planes_of_volume, volume_shape
from integral_pose.heatmaps.outputs import MarginalLogits, VolumeLogits
from integral_pose.heatmaps.uncertain_output import UncertainOutput


@dataclass(frozen=True)
class VarianceLoss:
    """`sigma_cells` is the standard deviation to aim at, in cells of each axis."""

    sigma_cells: float

    def __call__(self, output: NetworkOutput) -> Tensor:
        """The mean over batch and joints. Raises ValueError where there are no heat maps."""
        marginals = _marginals(output)
        variance = marginal_variance(marginals)
        target = (self.sigma_cells / vector_like(variance, axis_lengths_xyz(volume_shape(marginals)))) ** 2
        return ((variance - target) ** 2).sum(-1).mean()


def marginal_variance(marginals: Marginals) -> Tensor:
    """(B, J, 3) norm^2 along x, y, z."""

    def variance(along: Tensor) -> Tensor:
        cells = cell_centers_norm(along.shape[-1], along)
        mean = (along * cells).sum(-1, keepdim=True)
        return (along * (cells - mean) ** 2).sum(-1)

    return along_axes(marginals, variance)


def _marginals(output: NetworkOutput) -> Marginals:
    if isinstance(output, UncertainOutput):
        output = output.output
    if isinstance(output, VolumeLogits):
        return planes_of_volume(output.summed())
    if isinstance(output, MarginalLogits):
        return output.marginals
    raise ValueError("a network that predicts coordinates has no heat maps; set the variance's weight to 0")
