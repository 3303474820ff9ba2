"""One measurement of the volume operator's forms, in a process of its own: `python -m ... CASE_AS_JSON`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from integral_pose.bench import published
from integral_pose.bench.interleave import interleaved, median_ratio
from integral_pose.bench.memory import extra_bytes
from integral_pose.heatmaps import reference
from integral_pose.heatmaps.reference import HeatmapTarget
from integral_pose.heatmaps.volume import Implementation, soft_argmax, soft_argmax_and_heatmap_loss

Form = Callable[[Tensor, Tensor], Tensor]
NUM_JOINTS = 17
TARGET = HeatmapTarget()
DENSE = "integral + heat map, dense, best form"
PUBLISHED = "integral, published form"
FUSED = "integral + heat map, fused"
FUSED_INTEGRAL = "integral, fused"
COMPILED = "integral + heat map, plain, compiled"
FLOOR = "read twice, write once"


@dataclass(frozen=True)
class Case:
    """Which logits are read, and whether time or memory is looked at."""

    device: str
    dtype: str
    is_channels_last: bool
    batch: int
    size: int
    rounds: int
    with_compiled: bool
    measures_memory: bool

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


def forms() -> dict[str, Form]:
    """Losses of a head's output (B, J * D, H, W) and true joints (B, J, 3)."""
    return {
        FUSED: _fused("auto"),
        "integral + heat map, eager": _fused("eager"),
        "integral + heat map, plain": _plain,
        "integral + heat map, dense, meshgrid": _dense(published.meshgrid_targets),
        DENSE: _dense(published.broadcast_targets),
        FUSED_INTEGRAL: _fused_integral,
        PUBLISHED: published.integral_loss,
    }


def _fused(implementation: Implementation) -> Form:
    def loss(maps: Tensor, joints_norm: Tensor) -> Tensor:
        return _total(*soft_argmax_and_heatmap_loss(_volumes(maps), joints_norm, TARGET, implementation), joints_norm)

    return loss


def _plain(maps: Tensor, joints_norm: Tensor) -> Tensor:
    return _total(*reference.soft_argmax_and_heatmap_loss(_volumes(maps), joints_norm, TARGET), joints_norm)


def _fused_integral(maps: Tensor, joints_norm: Tensor) -> Tensor:
    return (soft_argmax(_volumes(maps)) - joints_norm).abs().mean()


def _dense(build: Callable[[Tensor, tuple[int, int, int], HeatmapTarget], Tensor]) -> Form:
    def loss(maps: Tensor, joints_norm: Tensor) -> Tensor:
        depth = maps.shape[1] // NUM_JOINTS
        volumes = build(joints_norm, (depth, maps.shape[2], maps.shape[3]), TARGET)
        # Half precision as under autocast, where softmax and cross-entropy run in float32.
        return published.integral_and_heatmap_loss(maps.float(), joints_norm, volumes)

    return loss


def _volumes(maps: Tensor) -> Tensor:
    return maps.unflatten(1, (NUM_JOINTS, maps.shape[1] // NUM_JOINTS))


def _total(joints: Tensor, heatmap: Tensor, joints_norm: Tensor) -> Tensor:
    return (joints - joints_norm).abs().mean() + heatmap


def measure(case: Case) -> dict[str, dict[str, float]]:
    """By form: seconds and its ratios, or the memory beyond the logits in units of the logits as float32."""
    logits, joints_norm = case.logits().requires_grad_(), case.joints_norm()
    runs = {name: _forward_and_backward(form, logits, joints_norm) for name, form in forms().items()}
    device = torch.device(case.device)
    if case.measures_memory:
        return {name: _memory(run, logits, device) for name, run in runs.items()}
    if case.with_compiled:  # half a minute of compiling; torch.compile alone takes seconds to import
        runs[COMPILED] = _forward_and_backward(torch.compile(_plain, dynamic=False), logits, joints_norm)
    copy = torch.empty_like(logits)
    runs[FLOOR] = lambda: (logits.detach().sum(), copy.copy_(logits.detach()))
    timings = interleaved(runs, device, rounds=case.rounds)
    return {
        name: {
            "seconds": timing.median_s,
            "vs_dense": median_ratio(timing, timings[DENSE]),
            "vs_published": median_ratio(timing, timings[PUBLISHED]),
        }
        for name, timing in timings.items()
    }


def _forward_and_backward(form: Form, logits: Tensor, joints_norm: Tensor) -> Callable[[], object]:
    def run() -> None:
        logits.grad = None
        form(logits, joints_norm).backward()

    return run


def _memory(run: Callable[[], object], logits: Tensor, device: torch.device) -> dict[str, float]:
    run()
    logits.grad = None
    extra = extra_bytes(run, device)
    return {} if extra is None else {"memory": extra / (4 * logits.numel())}


if __name__ == "__main__":
    print(json.dumps(measure(Case(**json.loads(sys.argv[1])))))
