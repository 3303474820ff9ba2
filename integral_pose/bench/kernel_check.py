"""Is the volume operator right on this device? Values and gradients against the plain reference in float64."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from integral_pose.heatmaps import reference
from integral_pose.heatmaps.reference import HeatmapTarget
from integral_pose.heatmaps.volume import soft_argmax_and_heatmap_loss

SHAPE = (2, 3, 12, 20, 33)  # B, J, D, H, W: unequal, and one of them fills no tile
TARGETS = (HeatmapTarget(), HeatmapTarget(peak=1.0, radius=0), HeatmapTarget(radius=2, reduction="mean"))
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2**-8, torch.float16: 2**-10}  # of the dtype of the gradient


def check_kernels(device: torch.device) -> list[dict[str, Any]]:
    """A row a case: the largest error, relative to the largest value, and whether it is within the tolerance."""
    rows = []
    for (name, logits), dtype, channels_last in itertools.product(_logits(), TOLERANCES, (False, True)):
        for target, (place, joints_norm) in itertools.product(TARGETS, _joints()):
            placed = _lay(logits.to(device, dtype), channels_last)
            error = _error(placed, joints_norm.to(device), target)
            rows.append({
                "logits": name, "joints": place, "dtype": str(dtype).removeprefix("torch."),
                "channels_last": channels_last, "target": f"radius {target.radius}, {target.reduction}",
                "error": error, "passed": error <= TOLERANCES[dtype],  # an error that is not a number does not pass
            })  # fmt: skip
    return rows


def _logits() -> Iterator[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(SHAPE, generator=generator)
    yield "random", noise
    yield "constant", torch.zeros(SHAPE)
    one_hot = noise.clone()
    one_hot[:, :, 3, 4, 5] = 40.0
    yield "near one-hot", one_hot
    yield "+-1e4", (noise.sign() * 1e4).clamp(-1e4, 1e4)


def _joints() -> Iterator[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    yield "random", (torch.rand(*SHAPE[:2], 3, generator=generator) - 0.5) * 1.3
    yield "borders", torch.tensor([[[-0.5, -0.5, -0.5], [0.499, 0.499, 0.499], [0.5, 0.0, 0.0]]] * SHAPE[0])


def _lay(logits: Tensor, channels_last: bool) -> Tensor:
    if not channels_last:
        return logits.contiguous()
    return logits.flatten(1, 2).contiguous(memory_format=torch.channels_last).unflatten(1, logits.shape[1:3])


def _error(logits: Tensor, joints_norm: Tensor, target: HeatmapTarget) -> float:
    """The largest of the errors of positions, loss and gradient."""
    found = _evaluate(soft_argmax_and_heatmap_loss, logits, joints_norm, target)
    truth = _evaluate(reference.soft_argmax_and_heatmap_loss, logits.double().cpu(), joints_norm.double().cpu(), target)
    smallest = (1.0, 1e-2, 1e-2 / (1 if target.reduction == "sum" else logits[0, 0].numel()))
    errors = [
        (value.double().cpu() - expected).abs().max() / expected.abs().max().clamp_min(floor)
        for value, expected, floor in zip(found, truth, smallest, strict=True)
    ]
    return torch.stack(errors).max().item()


def _evaluate(operator: Any, logits: Tensor, joints_norm: Tensor, target: HeatmapTarget) -> tuple[Tensor, ...]:
    logits = logits.detach().requires_grad_()
    position, loss = operator(logits, joints_norm, target)
    mixture = torch.linspace(-1, 2, position.numel(), dtype=position.dtype, device=position.device).view_as(position)
    ((position * mixture).sum() + 3 * loss).backward()
    assert logits.grad is not None
    return position.detach(), loss.detach(), logits.grad
