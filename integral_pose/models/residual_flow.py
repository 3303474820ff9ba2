"""A small RealNVP (Dinh et al. 2017) for the distribution of three numbers, as in Li et al. 2021 (RLE)."""

import math

import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor, nn

WIDTH = 64
KEPT = ((0, 0, 1), (1, 1, 0)) * 3  # one coupling layer each: the axes that stay and say how the others change
NODES = 7  # of the quadrature along each axis


class ResidualFlow(nn.Module):
    """An invertible map from three independent standard normal numbers; it begins as the identity.

    A coupling layer keeps the axes of its mask m and maps the others as x -> x exp(s(m x)) + t(m x).
    """

    kept: Tensor
    nodes: Tensor
    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.log_scales = nn.ModuleList(_perceptron(nn.Tanh()) for _ in KEPT)
        self.shifts = nn.ModuleList(_perceptron() for _ in KEPT)
        self.register_buffer("kept", torch.tensor(KEPT, dtype=torch.get_default_dtype()), persistent=False)
        along, weights = (torch.tensor(values, dtype=torch.get_default_dtype()) for values in hermegauss(NODES))
        self.register_buffer("nodes", torch.cartesian_prod(along, along, along), persistent=False)
        products = torch.cartesian_prod(weights, weights, weights).prod(-1)
        self.register_buffer("weights", products / products.sum(), persistent=False)

    def forward(self, normal: Tensor) -> Tensor:
        """(.., 3) standard normal -> (.., 3) with the density that `log_density` says."""
        values = normal
        for kept, log_scale, shift in zip(self.kept, self.log_scales, self.shifts, strict=True):
            known = kept * values
            values = known + (1 - kept) * (values * log_scale(known).exp() + shift(known))
        return values

    def log_density(self, values: Tensor) -> Tensor:
        """(.., 3) -> (..), the logarithm of the density there."""
        normal, log_determinant = values, values.new_zeros(values.shape[:-1])
        layers = list(zip(self.kept, self.log_scales, self.shifts, strict=True))
        for kept, log_scale, shift in reversed(layers):
            known = kept * normal
            log_scales = (1 - kept) * log_scale(known)
            normal = known + (1 - kept) * (normal - shift(known)) * (-log_scales).exp()
            log_determinant = log_determinant - log_scales.sum(-1)
        return log_determinant - 0.5 * (normal * normal).sum(-1) - 1.5 * math.log(2 * math.pi)

    @torch.no_grad()
    def standard_deviation(self) -> Tensor:
        """(3,) of the distribution, by Gauss-Hermite quadrature."""
        values = self(self.nodes)
        mean = self.weights @ values
        return (self.weights @ (values - mean) ** 2).sqrt()


def _perceptron(*after: nn.Module) -> nn.Sequential:
    """3 -> 3 numbers; 0 for every input at first."""
    last = nn.Linear(WIDTH, 3)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(
        nn.Linear(3, WIDTH), nn.LeakyReLU(), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(), last, *after
    )  # fmt: skip
