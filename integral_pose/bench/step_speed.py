"""`integral-pose bench step`: whole training steps, the published recipe against ours, with and without heat maps.

The published recipe: float32, NCHW-contiguous, unfused Adam, softmax and three sums, dense targets built by
meshgrid. Ours: what `trainer` does by default on this device. Data lie ready on the device.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from integral_pose.bench import measuring, published
from integral_pose.config.loss_section import LossConfig
from integral_pose.config.schema import ModelConfig, OptimizerConfig
from integral_pose.contracts import PoseBatch
from integral_pose.experiment.model import mean_distance_mm
from integral_pose.heatmaps.reference import HeatmapTarget
from integral_pose.io.devices import choose_device, choose_precision
from integral_pose.losses import LossWeights, build_criterion
from integral_pose.models.pose_net import PoseNet, build_network
from integral_pose.skeleton import HUMAN36M
from integral_pose.training.schedule import build_optimizer
from integral_pose.training.step import Loss, TrainStep

IMAGE_PX, DEPTH = 256, 64
FLOP_PER_IMAGE = 49.84e9  # ResNet-50, 256 px, 64^3, 17 joints: forward and backward, two a multiply-add
EPOCHS, IMAGES_PER_EPOCH = 25, 312_188  # the source report's schedule on Human3.6M
HEATMAP_WEIGHT, LEARNING_RATE = 1e-4, 1e-4

PUBLISHED, PUBLISHED_HEATMAP = "published: integral", "published: integral + heat map"
OURS, OURS_HEATMAP = "ours: integral", "ours: integral + heat map"
OURS_AXIS_TERMS = "ours: integral, axis terms"
OURS_MASKED = "ours: integral, a third unlabelled"
MEANINGS = {
    "heatmap_overhead": "share that the heat map loss adds to the time of our step",
    "published_heatmap_overhead": "share that it adds to the published step",
    "axis_terms_overhead": "share that axis terms add to the time of our step",
    "mask_overhead": "share that labels of which some are missing add to it; at most 0.01 is wanted",
    "step_vs_published": "time of our step over that of the published one",
    "heatmap_step_vs_published": "the same with the heat map loss",
    "images_per_s": OURS_HEATMAP,
    "out_of_memory": "steps that do not fit in the memory of the GPU",
    "device": f"ResNet-50, {IMAGE_PX} px, {DEPTH}^3; hours: {EPOCHS} epochs of {IMAGES_PER_EPOCH:,} images",
}

Step = Callable[[], Any]


def measure_steps(batch: int, rounds: int, device_name: str, compiled: str) -> dict[str, Any]:
    """`time_steps` in a process of its own, whose memory allocator does not distort the times."""
    return measuring.in_own_process(measuring.TIMING_ENVIRONMENT, time_steps, batch, rounds, device_name, compiled)


def time_steps(batch: int, rounds: int, device_name: str, compiled: str) -> dict[str, Any]:
    """The figures of MEANINGS, and a row for each step. What needs a step that does not fit in memory is None."""
    device = choose_device(device_name)
    steps = candidates(batch, device, compiled == "on" or (compiled == "auto" and device.type == "cuda"))
    warm_up = 3 if device.type == "cuda" else 1
    fitting = {name: step for name, step in steps.items() if _fits(step)}
    times_s = measuring.interleaved(fitting, device, rounds=rounds, warm_up=warm_up)
    rows = [_row(name, batch / statistics.median(seconds), batch) for name, seconds in times_s.items()]
    return {
        "heatmap_overhead": _ratio(times_s, OURS_HEATMAP, OURS, less=1),
        "published_heatmap_overhead": _ratio(times_s, PUBLISHED_HEATMAP, PUBLISHED, less=1),
        "axis_terms_overhead": _ratio(times_s, OURS_AXIS_TERMS, OURS, less=1),
        "mask_overhead": _ratio(times_s, OURS_MASKED, OURS, less=1),
        "step_vs_published": _ratio(times_s, OURS, PUBLISHED),
        "heatmap_step_vs_published": _ratio(times_s, OURS_HEATMAP, PUBLISHED_HEATMAP),
        "images_per_s": next((row["images_per_s"] for row in rows if row["step"] == OURS_HEATMAP), None),
        "out_of_memory": [name for name in steps if name not in fitting],
        **measuring.describe_machine(device),
        "batch": batch,
        "rows": rows,
    }


def candidates(batch_size: int, device: torch.device, compiled: bool) -> dict[str, Step]:
    """The steps by name, each with a network of its own, but that masked labels are learnt by ours."""
    batch = random_batch(batch_size, device)
    steps: dict[str, Step] = {
        PUBLISHED: published_step(batch, device, heatmap=False),
        PUBLISHED_HEATMAP: published_step(batch, device, heatmap=True),
    }
    for name, heatmap_weight, axis_terms in (
        (OURS, 0.0, False), (OURS_HEATMAP, HEATMAP_WEIGHT, False), (OURS_AXIS_TERMS, 0.0, True),
    ):  # fmt: skip
        step, loss = our_step(device, compiled, heatmap_weight, axis_terms=axis_terms)
        steps[name] = partial(step, batch, loss, LEARNING_RATE)
        if name == OURS:  # in turn after it, so that the two are disturbed alike
            steps[OURS_MASKED] = partial(step, with_missing_labels(batch), loss, LEARNING_RATE)
    return steps


def random_batch(size: int, device: torch.device) -> PoseBatch:
    """Noise with joints inside the volume."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, IMAGE_PX, IMAGE_PX, 3), generator=generator, dtype=torch.uint8)
    joints_mm = (torch.rand(size, HUMAN36M.num_joints, 3, generator=generator) - 0.5) * 1800
    joints_mm -= joints_mm[:, :1].clone()
    return PoseBatch(torch.arange(size), images.permute(0, 3, 1, 2), joints_mm / 1.1, joints_mm[..., :2]).to(device)


def with_missing_labels(batch: PoseBatch) -> PoseBatch:
    """The batch without the label of every third joint, the root's apart."""
    joints_mm, joints_px = batch.joints_camera_mm.clone(), batch.joints_crop_px.clone()
    joints_mm[:, 1::3] = joints_px[:, 1::3] = float("nan")
    return replace(batch, joints_camera_mm=joints_mm, joints_crop_px=joints_px, is_complete=False)


def our_step(
    device: torch.device, compiled: bool, heatmap_weight: float, ema_decay: float = 0.0, *, axis_terms: bool = False
) -> tuple[TrainStep, Loss]:
    """The trainer's step with its network, and the loss."""
    model = _network(axis_terms).to(device).to(memory_format=torch.channels_last)
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
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
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


def _fits(step: Step) -> bool:
    try:
        step()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return False
    return True


def _ratio(times_s: Mapping[str, Sequence[float]], one: str, other: str, less: float = 0.0) -> float | None:
    return measuring.median_ratio(times_s[one], times_s[other]) - less if {one, other} <= times_s.keys() else None


def _network(axis_terms: bool = False) -> PoseNet:
    torch.manual_seed(0)
    section = ModelConfig(
        volume_depth=DEPTH, axis_terms="gaussian" if axis_terms else "none"
    )  # of which all else is the default: ResNet-50, 2200 mm
    return build_network(section, (IMAGE_PX, IMAGE_PX), HUMAN36M.root, pretrained=False).train()


def _row(name: str, images_per_s: float, batch: int) -> dict[str, Any]:
    return {
        "step": name,
        "ms": batch / images_per_s * 1e3,
        "images_per_s": images_per_s,
        "tflop_per_s": images_per_s * FLOP_PER_IMAGE / 1e12,
        "hours": EPOCHS * IMAGES_PER_EPOCH / images_per_s / 3600,
    }
