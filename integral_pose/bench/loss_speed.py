"""`integral-pose bench loss`: what the two losses cost, forward and backward, from given logits."""

import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from integral_pose.bench import measuring, published
from integral_pose.heatmaps import reference
from integral_pose.heatmaps.reference import HeatmapTarget
from integral_pose.heatmaps.volume import AxisLogits, soft_argmax, soft_argmax_and_heatmap_loss

Form = Callable[[Tensor, Tensor], Tensor]
NUM_JOINTS = 17
DTYPES = ("float32", "bfloat16")
TARGET = HeatmapTarget()
DENSE = "integral + heat map, dense, best form"
PUBLISHED = "integral, published form"
FUSED = "integral + heat map, fused"
FUSED_INTEGRAL = "integral, fused"
FUSED_AXIS_TERMS = "integral + heat map, axis terms, fused"
COMPILED = "integral + heat map, plain, compiled"
FLOOR = "read twice, write once"
MEANINGS = {  # of the figures; each is the worst of the four kinds of logits
    "heatmap_vs_dense": f"time of '{FUSED}' over '{DENSE}'",
    "heatmap_vs_published": f"time of '{FUSED}' over '{PUBLISHED}'",
    "integral_vs_published": f"time of '{FUSED_INTEGRAL}' over '{PUBLISHED}'",
    "axis_terms_vs_fused": f"time of '{FUSED_AXIS_TERMS}' over '{FUSED}'",
    "memory_vs_logits": f"peak of '{FUSED}' beside the logits, over the logits as float32",
}


@dataclass(frozen=True)
class Case:
    """Which logits are read."""

    device: str
    dtype: str
    is_channels_last: bool
    batch: int
    size: int

    def logits(self) -> Tensor:
        """A head's output (B, J * D, H, W)."""
        generator = torch.Generator().manual_seed(0)
        maps = torch.randn(self.batch, NUM_JOINTS * self.size, self.size, self.size, generator=generator)
        memory_format = torch.channels_last if self.is_channels_last else torch.contiguous_format
        return maps.to(self.device, getattr(torch, self.dtype)).contiguous(memory_format=memory_format)

    def joints_norm(self) -> Tensor:
        """True positions (B, J, 3), all inside."""
        generator = torch.Generator().manual_seed(1)
        return (torch.rand(self.batch, NUM_JOINTS, 3, generator=generator) - 0.5).to(self.device)


def measure_losses(
    device: torch.device, batch: int, size: int, rounds: int, with_compiled: bool = True
) -> dict[str, Any]:
    """Every form on float32 and bfloat16 logits in both memory layouts; MEANINGS names the figures."""
    rows: list[dict[str, Any]] = []
    for dtype, is_channels_last in itertools.product(DTYPES, (False, True)):
        case = Case(str(device), dtype, is_channels_last, batch, size)
        timings = measuring.in_own_process(measuring.TIMING_ENVIRONMENT, time_forms, case, rounds, with_compiled)
        peaks = measuring.in_own_process(measuring.MEMORY_ENVIRONMENT, measure_peaks, case)
        place = {"dtype": dtype, "channels_last": is_channels_last}
        rows += [{**place, "form": form, **figures, **peaks.get(form, {})} for form, figures in timings.items()]
    return {
        "heatmap_vs_dense": _worst(rows, FUSED, "vs_dense"),
        "heatmap_vs_published": _worst(rows, FUSED, "vs_published"),
        "integral_vs_published": _worst(rows, FUSED_INTEGRAL, "vs_published"),
        "axis_terms_vs_fused": _worst(rows, FUSED_AXIS_TERMS, "vs_fused"),
        "memory_vs_logits": _worst(rows, FUSED, "memory"),
        **measuring.describe_machine(device),
        "batch": batch,
        "size": size,
        "rows": rows,
    }


def time_forms(case: Case, rounds: int, with_compiled: bool) -> dict[str, dict[str, float]]:
    """By form: seconds, forward and backward, and their ratios."""
    logits, joints_norm = case.logits().requires_grad_(), case.joints_norm()
    candidates = forms()
    if with_compiled:  # half a minute of compiling; torch.compile alone takes seconds to import
        candidates[COMPILED] = torch.compile(_plain, dynamic=False)
    runs: dict[str, Callable[[], object]] = {}
    for name, form in candidates.items():
        runs[name] = partial(_forward_and_backward, form, logits, joints_norm)
    copy = torch.empty_like(logits)
    runs[FLOOR] = lambda: (logits.detach().sum(), copy.copy_(logits.detach()))
    times_s = measuring.interleaved(runs, torch.device(case.device), rounds=rounds)
    return {
        name: {
            "seconds": statistics.median(seconds),
            "vs_dense": measuring.median_ratio(seconds, times_s[DENSE]),
            "vs_published": measuring.median_ratio(seconds, times_s[PUBLISHED]),
            "vs_fused": measuring.median_ratio(seconds, times_s[FUSED]),
        }
        for name, seconds in times_s.items()
    }


def measure_peaks(case: Case) -> dict[str, dict[str, float]]:
    """By form: memory beyond the logits, in units of the logits as float32; {} where the system does not tell."""
    logits, joints_norm = case.logits().requires_grad_(), case.joints_norm()
    peaks = {}
    for name, form in forms().items():
        run = partial(_forward_and_backward, form, logits, joints_norm)
        run()
        logits.grad = None
        extra = measuring.extra_bytes(run, torch.device(case.device))
        if extra is not None:
            peaks[name] = {"memory": extra / (4 * logits.numel())}
    return peaks


def forms() -> dict[str, Form]:
    """Losses of a head's output (B, J * D, H, W) and true joints (B, J, 3)."""
    return {
        FUSED: partial(_from_volumes, soft_argmax_and_heatmap_loss),
        FUSED_AXIS_TERMS: _with_axis_terms,
        "integral + heat map, eager": partial(
            _from_volumes, partial(soft_argmax_and_heatmap_loss, implementation="eager")
        ),
        "integral + heat map, plain": _plain,
        "integral + heat map, dense, meshgrid": partial(_dense, published.meshgrid_targets),
        DENSE: partial(_dense, published.broadcast_targets),
        FUSED_INTEGRAL: lambda maps, joints_norm: (soft_argmax(_volumes(maps)) - joints_norm).abs().mean(),
        PUBLISHED: published.integral_loss,
    }


def _from_volumes(operator: Callable[..., tuple[Tensor, Tensor]], maps: Tensor, joints_norm: Tensor) -> Tensor:
    joints, heatmap = operator(_volumes(maps), joints_norm, TARGET)
    return (joints - joints_norm).abs().mean() + heatmap


def _with_axis_terms(maps: Tensor, joints_norm: Tensor) -> Tensor:
    """Terms of zeros, whose gradients are made too."""
    x, y, z = (
        maps.new_zeros(len(maps), NUM_JOINTS, cells, dtype=torch.float32, requires_grad=True)
        for cells in (maps.shape[3], maps.shape[2], maps.shape[1] // NUM_JOINTS)
    )
    return _from_volumes(partial(soft_argmax_and_heatmap_loss, axis_logits=AxisLogits(x, y, z)), maps, joints_norm)


def _plain(maps: Tensor, joints_norm: Tensor) -> Tensor:
    return _from_volumes(reference.soft_argmax_and_heatmap_loss, maps, joints_norm)


def _dense(build: Callable[..., Tensor], maps: Tensor, joints_norm: Tensor) -> Tensor:
    depth = maps.shape[1] // NUM_JOINTS
    volumes = build(joints_norm, (depth, maps.shape[2], maps.shape[3]), TARGET)
    # Half precision as under autocast, where softmax and cross-entropy run in float32.
    return published.integral_and_heatmap_loss(maps.float(), joints_norm, volumes)


def _volumes(maps: Tensor) -> Tensor:
    return maps.unflatten(1, (NUM_JOINTS, maps.shape[1] // NUM_JOINTS))


def _forward_and_backward(form: Form, logits: Tensor, joints_norm: Tensor) -> None:
    logits.grad = None
    form(logits, joints_norm).backward()


def _worst(rows: list[dict[str, Any]], form: str, figure: str) -> float | None:
    return max((row[figure] for row in rows if row["form"] == form and figure in row), default=None)
