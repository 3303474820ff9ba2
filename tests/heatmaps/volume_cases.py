"""Test cases of the volume operator, and its comparison with the reference in float64."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from integral_pose.heatmaps.reference import HeatmapTarget
from integral_pose.heatmaps.volume import AxisLogits, Implementation, soft_argmax, soft_argmax_and_heatmap_loss

GAUSSIAN = HeatmapTarget()
ONE_HOT = HeatmapTarget(peak=1.0, radius=0)
TARGETS = [None, GAUSSIAN, ONE_HOT, HeatmapTarget(peak=1.0, radius=2, reduction="mean"), HeatmapTarget(radius=40)]


class Result(NamedTuple):
    joints: Tensor
    loss: Tensor
    gradient: Tensor
    axis_gradients: tuple[Tensor, ...] = ()


def channels_last(logits: Tensor) -> Tensor:
    """The same (B, J, D, H, W) as a view of a head's output in channels_last."""
    head_output = logits.flatten(1, 2).contiguous(memory_format=torch.channels_last)
    return head_output.unflatten(1, logits.shape[1:3])


def random_joints(shape: tuple[int, ...], reach: float = 1.3) -> Tensor:
    return (torch.rand(*shape[:2], 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 0.5) * reach


def random_axis_logits(shape: tuple[int, ...], spread: float, dtype: torch.dtype = torch.float32) -> AxisLogits:
    generator = torch.Generator().manual_seed(4)
    x, y, z = (torch.randn(*shape[:2], n, generator=generator, dtype=dtype) * spread for n in reversed(shape[2:]))
    return AxisLogits(x, y, z)


def evaluate(
    logits: Tensor,
    joints: Tensor,
    target: HeatmapTarget | None,
    implementation: Implementation = "auto",
    axis_logits: AxisLogits | None = None,
) -> Result:
    """Joints and loss, and the gradients of a fixed linear combination of them."""
    logits = logits.detach().requires_grad_()
    own = None if axis_logits is None else AxisLogits(*(along.detach().requires_grad_() for along in axis_logits))
    joints = joints.to(torch.float64 if logits.dtype == torch.float64 else torch.float32)
    if target is None:
        position = soft_argmax(logits, implementation, axis_logits=own)
        loss = position.new_zeros(())
    else:
        position, loss = soft_argmax_and_heatmap_loss(logits, joints, target, implementation, axis_logits=own)
    mixture = torch.linspace(-1, 2, position.numel(), dtype=position.dtype).view_as(position)
    ((position * mixture).sum() + 3 * loss).backward()
    assert logits.grad is not None
    of_axes = [along.grad for along in own or () if along.grad is not None]
    return Result(position.detach(), loss.detach(), logits.grad, tuple(of_axes))


def assert_close(
    result: Result,
    logits: Tensor,
    joints: Tensor,
    target: HeatmapTarget | None,
    tolerance: float,
    axis_logits: AxisLogits | None = None,
) -> None:
    """Compare with the reference in float64, relative to the loss, the volume's width and the largest gradient.

    The reference itself adds logarithms of the size of the logits, hence the absolute part.
    """
    in_double = None if axis_logits is None else AxisLogits(*(along.double() for along in axis_logits))
    expected = evaluate(logits.double(), joints, target, "reference", in_double)
    own = 4e-16 * sum(tensor.abs().max().item() for tensor in (logits, *(axis_logits or ())))
    scale = 3.0 / (1 if target is None or target.reduction == "sum" else logits[0, 0].numel())
    found, truths = ((*each[:3], *each.axis_gradients) for each in (result, expected))
    for value, truth, floor in zip(found, truths, (1.0, 0.01, *[0.01 * scale] * (len(found) - 2)), strict=True):
        error = (value.double() - truth).abs().max().item()
        assert error <= tolerance * max(truth.abs().max().item(), floor) + own
