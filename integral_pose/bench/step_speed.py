"""`integral-pose bench step`: whole training steps, the published recipe against ours, with and without heat maps.

The published recipe: float32, NCHW-contiguous, unfused Adam, softmax and three sums, dense targets built by
meshgrid. Ours: what `trainer` does by default on this device. Data lie ready on the device.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from integral_pose.bench import published
from integral_pose.bench.interleave import Timing, interleaved, median_ratio
from integral_pose.bench.machine import describe_machine
from integral_pose.bench.own_process import TIMING_ENVIRONMENT, in_own_process
from integral_pose.config.schema import LossConfig, OptimizerConfig
from integral_pose.contracts import PoseBatch
from integral_pose.experiment.model import mean_distance_mm
from integral_pose.geometry.coordinates import MetricVolume
from integral_pose.heatmaps.reference import HeatmapTarget
from integral_pose.io.devices import choose_device, choose_precision
from integral_pose.losses import LossWeights, build_criterion
from integral_pose.models.backbones.resnet import ResNetFeatures
from integral_pose.models.heads.volumetric import VolumetricHead
from integral_pose.models.pose_net import PoseNet
from integral_pose.skeleton import HUMAN36M
from integral_pose.training.schedule import build_optimizer
from integral_pose.training.step import Loss, TrainStep

IMAGE_PX, DEPTH = 256, 64
FLOP_PER_IMAGE = 49.84e9  # ResNet-50, 256 px, 64^3, 17 joints: forward and backward, two a multiply-add
EPOCHS, IMAGES_PER_EPOCH = 25, 312_188  # the source report's schedule on Human3.6M
HEATMAP_WEIGHT = 1e-4

PUBLISHED, PUBLISHED_HEATMAP = "published: integral", "published: integral + heat map"
OURS, OURS_HEATMAP = "ours: integral", "ours: integral + heat map"

Step = Callable[[], Any]


def measure_steps(batch: int, rounds: int, device_name: str, compiled: str) -> dict[str, Any]:
    """`_measure` in a process of its own, whose memory allocator does not distort the times."""
    case = (batch, rounds, device_name, compiled)
    result: dict[str, Any] = in_own_process("integral_pose.bench.step_speed", case, TIMING_ENVIRONMENT)
    return result


def _measure(batch: int, rounds: int, device_name: str, compiled: str) -> dict[str, Any]:
    """heatmap_overhead: share that the heat map loss adds to our step; step_vs_published: our time over theirs.

    A step that does not fit the GPU's memory is named under out_of_memory, and what needs it is None.
    """
    device = choose_device(device_name)
    steps = candidates(batch, device, compiled == "on" or (compiled == "auto" and device.type == "cuda"))
    warm_up = 3 if device.type == "cuda" else 1
    fitting = {name: step for name, step in steps.items() if _fits(step)}
    times = interleaved(fitting, device, rounds=rounds, warm_up=warm_up)
    return {
        "heatmap_overhead": _minus_one(_ratio(times, OURS_HEATMAP, OURS)),
        "published_heatmap_overhead": _minus_one(_ratio(times, PUBLISHED_HEATMAP, PUBLISHED)),
        "step_vs_published": _ratio(times, OURS, PUBLISHED),
        "heatmap_step_vs_published": _ratio(times, OURS_HEATMAP, PUBLISHED_HEATMAP),
        "images_per_s": batch / times[OURS_HEATMAP].median_s if OURS_HEATMAP in times else None,
        "out_of_memory": [name for name in steps if name not in fitting],
        **describe_machine(device),
        "batch": batch,
        "rows": [_row(name, timing, batch) for name, timing in times.items()],
    }


def candidates(batch_size: int, device: torch.device, compiled: bool) -> dict[str, Step]:
    """The four steps by name, each with a network of its own."""
    batch = random_batch(batch_size, device)
    return {
        PUBLISHED: published_step(batch, device, heatmap=False),
        PUBLISHED_HEATMAP: published_step(batch, device, heatmap=True),
        OURS: our_step(batch, device, compiled, heatmap_weight=0.0),
        OURS_HEATMAP: our_step(batch, device, compiled, heatmap_weight=HEATMAP_WEIGHT),
    }


def random_batch(size: int, device: torch.device) -> PoseBatch:
    """Noise with joints inside the volume."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, IMAGE_PX, IMAGE_PX, 3), generator=generator, dtype=torch.uint8)
    joints_mm = (torch.rand(size, HUMAN36M.num_joints, 3, generator=generator) - 0.5) * 1800
    joints_mm -= joints_mm[:, :1].clone()
    return PoseBatch(torch.arange(size), images.permute(0, 3, 1, 2), joints_mm / 1.1, joints_mm[..., :2]).to(device)


def our_step(batch: PoseBatch, device: torch.device, compiled: bool, heatmap_weight: float) -> Step:
    """The trainer's step."""
    step, loss = our_train_step(device, compiled, heatmap_weight)
    return lambda: step(batch, loss, 1e-4)


def our_train_step(
    device: torch.device, compiled: bool, heatmap_weight: float, ema_decay: float = 0.0
) -> tuple[TrainStep, Loss]:
    """The trainer's step with its network, and the loss."""
    model = _network().to(device).to(memory_format=torch.channels_last)
    step = TrainStep(
        model,
        build_optimizer(OptimizerConfig(name="adam"), model),
        metric=partial(mean_distance_mm, space=model.space),
        device=device,
        precision=choose_precision("auto", device, model),
        accumulation_steps=1,
        clip_gradient=None,
        ema_decay=ema_decay,
        distributed=False,
        compiled=compiled,
    )
    return step, partial(build_criterion(LossConfig(), model.space), weights=LossWeights(1.0, heatmap_weight))


def published_step(batch: PoseBatch, device: torch.device, heatmap: bool) -> Step:
    """The step as published projects make it."""
    model = _network().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    images = batch.images.contiguous()
    true_norm = model.space.encode(batch.joints_camera_mm)

    def step() -> None:
        optimizer.zero_grad()
        maps = model(images).tensors()["logits"].flatten(1, 2)
        if heatmap:
            shape = (DEPTH, maps.shape[-2], maps.shape[-1])
            targets = published.meshgrid_targets(true_norm, shape, HeatmapTarget())
            loss = published.integral_and_heatmap_loss(maps, true_norm, targets, HEATMAP_WEIGHT)
        else:
            loss = published.integral_loss(maps, true_norm)
        loss.backward()
        optimizer.step()

    return step


def step_table(result: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        f"{result['device']}, torch {result['torch']}: ResNet-50, {IMAGE_PX} px, {DEPTH}^3, batch {result['batch']}",
        f"{'':34}{'ms':>10}{'images/s':>10}{'TFLOP/s':>9}{'hours':>9}",
    ]
    lines += [
        f"{row['step']:34}{row['ms']:10.1f}{row['images_per_s']:10.1f}{row['tflop_per_s']:9.2f}{row['hours']:9.1f}"
        for row in result["rows"]
    ]
    lines += [
        f"hours: {EPOCHS} epochs of {IMAGES_PER_EPOCH:,} images",
        "",
        f"heat map loss adds   {_figure(result['heatmap_overhead'], '+.1%')} to our step, "
        f"{_figure(result['published_heatmap_overhead'], '+.1%')} to the published one",
        f"our step takes       {_figure(result['step_vs_published'], '.2f')} of the published time, "
        f"{_figure(result['heatmap_step_vs_published'], '.2f')} with the heat map loss",
    ]
    lines += [f"did not fit in memory: {name}" for name in result["out_of_memory"]]
    return "\n".join(lines)


def _fits(step: Step) -> bool:
    try:
        step()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return False
    return True


def _ratio(times: dict[str, Timing], one: str, other: str) -> float | None:
    return median_ratio(times[one], times[other]) if one in times and other in times else None


def _minus_one(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _network() -> PoseNet:
    torch.manual_seed(0)
    backbone = ResNetFeatures("resnet50")
    space = MetricVolume(2200.0, HUMAN36M.root)
    head = VolumetricHead(backbone.num_channels, (256, 256, 256), HUMAN36M.num_joints, DEPTH, space)
    return PoseNet(backbone, head).train()


def _row(name: str, timing: Timing, batch: int) -> dict[str, Any]:
    images_per_s = batch / timing.median_s
    return {
        "step": name,
        "ms": timing.median_s * 1e3,
        "images_per_s": images_per_s,
        "tflop_per_s": images_per_s * FLOP_PER_IMAGE / 1e12,
        "hours": EPOCHS * IMAGES_PER_EPOCH / images_per_s / 3600,
    }


if __name__ == "__main__":
    print(json.dumps(_measure(*json.loads(sys.argv[1]))))
