"""Test cases of the volume operator, and its comparison with the reference in float64."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from integral_pose.heatmaps.reference import HeatmapTarget
from integral_pose.heatmaps.volume import Implementation, soft_argmax, soft_argmax_and_heatmap_loss

GAUSSIAN = HeatmapTarget()
ONE_HOT = HeatmapTarget(peak=1.0, radius=0)
TARGETS = [None, GAUSSIAN, ONE_HOT, HeatmapTarget(peak=1.0, radius=2, reduction="mean"), HeatmapTarget(radius=40)]


class Result(NamedTuple):
    joints: Tensor
    loss: Tensor
    gradient: Tensor


def channels_last(logits: Tensor) -> Tensor:
    """The same (B, J, D, H, W) as a view of a head's output in channels_last."""
    head_output = logits.flatten(1, 2).contiguous(memory_format=torch.channels_last)
    return head_output.unflatten(1, logits.shape[1:3])


def random_joints(shape: tuple[int, ...], reach: float = 1.3) -> Tensor:
    return (torch.rand(*shape[:2], 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 0.5) * reach


def evaluate(
    logits: Tensor, joints: Tensor, target: HeatmapTarget | None, implementation: Implementation = "auto"
) -> Result:
    """Joints and loss, and the gradient of a fixed linear combination of them."""
    logits = logits.detach().requires_grad_()
    joints = joints.to(torch.float64 if logits.dtype == torch.float64 else torch.float32)
    if target is None:
        position = soft_argmax(logits, implementation)
        loss = position.new_zeros(())
    else:
        position, loss = soft_argmax_and_heatmap_loss(logits, joints, target, implementation)
    mixture = torch.linspace(-1, 2, position.numel(), dtype=position.dtype).view_as(position)
    ((position * mixture).sum() + 3 * loss).backward()
    assert logits.grad is not None
    return Result(position.detach(), loss.detach(), logits.grad)


def assert_close(
    result: Result, logits: Tensor, joints: Tensor, target: HeatmapTarget | None, tolerance: float
) -> None:
    """Compare with the reference in float64, relative to the loss, the volume's width and the largest gradient.

    The reference itself adds logarithms of the size of the logits, hence the absolute part.
    """
    expected = evaluate(logits.double(), joints, target, "reference")
    own = 4e-16 * logits.abs().max().item()
    scale = 3.0 / (1 if target is None or target.reduction == "sum" else logits[0, 0].numel())
    for value, truth, floor in zip(result, expected, (1.0, 0.01, 0.01 * scale), strict=True):
        error = (value.double() - truth).abs().max().item()
        assert error <= tolerance * max(truth.abs().max().item(), floor) + own
