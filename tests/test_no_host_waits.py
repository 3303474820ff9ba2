"""No step of training and no batch that is scored makes the host wait for a GPU."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from integral_pose.config.loss_section import LossConfig
from integral_pose.config.schema import ModelConfig, OptimizerConfig
from integral_pose.contracts import CropViews, PoseBatch
from integral_pose.data.device_augmentation import DeviceAugmentation
from integral_pose.experiment.model import mean_distance_mm
from integral_pose.losses import LossWeights, build_criterion
from integral_pose.models.crop_changes import crop_changes
from integral_pose.models.pose_net import PoseNet, build_network
from integral_pose.models.predictor import Predictor, keep_roots
from integral_pose.skeleton import HUMAN36M
from integral_pose.training.meter import Meter
from integral_pose.training.schedule import build_optimizer
from integral_pose.training.step import TrainStep
from tests.host_waits import HostWaits, cuda_path

__all__ = ["cuda_path"]
SIDE = 64
JENSEN_SHANNON = {"heatmap": {"name": "jensen_shannon"}}
IMAGE_VOLUME = {"volume": "image"}
STEPS = {
    "volume": ({}, {}),
    "image_volume": (IMAGE_VOLUME, {"joints": "smooth_l1"}),
    "axis_terms": ({"axis_terms": "gaussian"}, {"joints": "l2"}),
    "divergence": ({}, JENSEN_SHANNON),
    "one_hot": ({}, {"heatmap": {"target": "one_hot"}}),
    "debiased": ({"decoder": "debiased"}, JENSEN_SHANNON),
    "sampled": ({}, {"sampled": True}),
    "planes": ({"head": "planes"}, {"joints": "euclidean", **JENSEN_SHANNON}),
    "axes": ({"head": "axes", "deconv_channels": [], "cells_per_feature": 2}, JENSEN_SHANNON),
    "regression": ({"head": "regression"}, {}),
    "scale": ({"uncertainty": "scale"}, {"joints": "beta_nll"}),
    "flow": ({"uncertainty": "flow"}, {"joints": "rle"}),
}
AUGMENTATION = DeviceAugmentation(
    seed=0, translate_percent=(-0.05, 0.05), scale=(0.75, 1.25), hue_saturation=(-60, 60), contrast=(0.7, 1.3),
    brightness=(0.5, 1.5), rotation=(-30, 30), rotation_share=1.0, flip=0.5, desaturation=(0, 1), blur_px=(0, 2),
    erase=0.5, scale_depth=True, flip_order=HUMAN36M.flip_order,
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("tiny_backbone", "cuda_path")


def network(**model: Any) -> PoseNet:
    values = {"deconv_channels": [8], "volume_depth": 4, **model}
    made = build_network(ModelConfig(**values), (SIDE, SIDE), HUMAN36M.root, pretrained=False)
    return made.to(memory_format=torch.channels_last)


def views_of(number: int) -> CropViews:
    return CropViews(
        torch.tensor([[1100.0, 1100, 500, 500, 0, 0, 0, 0, 0]]).repeat(number, 1),
        torch.eye(2, 3).repeat(number, 1, 1),
        torch.tensor([[0.0, 0, 4000]]).repeat(number, 1),
        torch.eye(3).repeat(number, 1, 1),
    )


def make_batch() -> PoseBatch:
    images = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    changes = AUGMENTATION.draw(0, np.arange(2))
    return PoseBatch(torch.arange(2), images, torch.randn(2, 17, 3), torch.rand(2, 17, 2) * SIDE, changes, views_of(2))


@pytest.mark.parametrize("name", STEPS)
def test_no_step_waits(name: str) -> None:
    model_values, loss_values = STEPS[name]
    model = network(**model_values).train()
    flow = model.uncertainty.flow if model.uncertainty else None
    criterion = build_criterion(LossConfig(**loss_values), model.space, flow.log_density if flow else None)
    has_heatmaps = model_values.get("head") != "regression"
    weights = LossWeights(1.0, 1e-4 * has_heatmaps, 1e-2 * has_heatmaps)
    step = TrainStep(
        model, build_optimizer(OptimizerConfig(), model), metric=partial(mean_distance_mm, space=model.space),
        device=torch.device("cpu"), precision=torch.bfloat16, accumulation_steps=2, clip_gradient=1.0, ema_decay=0.9,
        distributed=False, augment=AUGMENTATION,
    )  # fmt: skip
    batch, meter = make_batch(), Meter()
    for _ in range(2):  # the optimiser makes its state at the first step
        with HostWaits() as waits:
            values = step(batch, partial(criterion, weights=weights), 1e-3)
            skipped = values.pop("skipped")
            meter.add(values, counts=~skipped)
            step.error_mm()
    assert dict(waits.found) == {}


@pytest.mark.parametrize("name", ["volume", "image_volume", "planes", "axes", "regression"])
@pytest.mark.parametrize("crops", [1, 7])
def test_no_scored_batch_waits(name: str, crops: int) -> None:
    model = network(**STEPS[name][0]).eval()
    place = keep_roots
    if name == "image_volume":
        place = partial(model.space.at_bone_length, bones=HUMAN36M.bones, total_bone_length_mm=4000.0)
    predictor = Predictor(
        model, flip=True, crops=crop_changes(crops, scale_depth=True), place_root=place, skeleton=HUMAN36M
    )
    batch = make_batch()
    with HostWaits() as waits, torch.inference_mode():
        predictor(batch.images, batch.views)
    assert dict(waits.found) == {}


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x[:, [1, 0]],
        lambda x: x.new_tensor([1.0]),
        lambda x: bool(x.sum() > 0),
        lambda x: x[x > 0],
        lambda x: torch.eye(2).to(x),
    ],
)
def test_a_wait_is_found(wait: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.host_waits.PACKAGE", __file__)  # this file stands for the package
    numbers = torch.ones(2, 3)
    with HostWaits() as waits:
        wait(numbers)
    assert len(waits.found) == 1
