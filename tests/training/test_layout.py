"""A whole training step keeps the memory layout that it was given: nothing the size of the activations is moved."""

from __future__ import annotations

from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from integral_pose.config.loss_section import LossConfig
from integral_pose.config.schema import OptimizerConfig
from integral_pose.contracts import PoseBatch
from integral_pose.geometry.coordinates import MetricVolume
from integral_pose.losses import LossWeights, build_criterion
from integral_pose.models.backbones.resnet import ResNetFeatures
from integral_pose.models.heads.volumetric import VolumetricHead
from integral_pose.models.pose_net import PoseNet
from integral_pose.training.schedule import build_optimizer
from integral_pose.training.step import TrainStep

BATCH = 5  # no layer has as many channels: what begins with it is a batch
COPIES = ("aten::copy_", "aten::clone")


def copied_batches(model: PoseNet, images: torch.Tensor) -> list[tuple[int, ...]]:
    """Shapes of the four-dimensional batches that one step copies, the images left out."""
    loss = partial(build_criterion(LossConfig(), model.space), weights=LossWeights(1.0, 1e-4))
    step = TrainStep(
        model,
        build_optimizer(OptimizerConfig(name="adam"), model),
        metric=lambda joints, batch: joints.mean(),
        device=torch.device("cpu"),
        precision=torch.bfloat16,
        accumulation_steps=1,
        clip_gradient=None,
        ema_decay=0.0,
        distributed=False,
    )
    batch = PoseBatch(torch.arange(BATCH), images, torch.zeros(BATCH, 3, 3), torch.zeros(BATCH, 3, 2))
    step(batch, loss, 1e-4)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as trace:
        step(batch, loss, 1e-4)
    shapes = [tuple(event.input_shapes[0]) for event in trace.events() if event.name in COPIES and event.input_shapes]
    return [shape for shape in shapes if len(shape) >= 4 and shape[0] == BATCH and shape != tuple(images.shape)]


def network() -> PoseNet:
    backbone = ResNetFeatures("resnet18")
    head = VolumetricHead(backbone.num_channels, (16, 16), num_joints=3, depth=8, space=MetricVolume(2200.0, 0))
    return PoseNet(backbone, head).train()


def test_channels_last_from_the_images_to_the_loss_copies_no_activation() -> None:
    images = torch.randint(0, 256, (BATCH, 64, 64, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    assert copied_batches(network().to(memory_format=torch.channels_last), images) == []


def test_a_layer_that_changes_the_layout_is_seen() -> None:
    class Rearranging(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features.contiguous()

    model = network().to(memory_format=torch.channels_last)
    model.backbone = torch.nn.Sequential(model.backbone, Rearranging())
    images = torch.randint(0, 256, (BATCH, 64, 64, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    assert (BATCH, 512, 2, 2) in copied_batches(model, images)
