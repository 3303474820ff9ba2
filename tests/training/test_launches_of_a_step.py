"""What a step launches on a GPU, counted on the CPU with kernels that do nothing."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from integral_pose.config.loss_section import LossConfig
from integral_pose.config.schema import ModelConfig, OptimizerConfig
from integral_pose.contracts import CropViews, PoseBatch
from integral_pose.experiment.model import mean_distance_mm
from integral_pose.losses import LossWeights, build_criterion
from integral_pose.models.pose_net import build_network
from integral_pose.skeleton import HUMAN36M
from integral_pose.training.schedule import build_optimizer
from integral_pose.training.step import TrainStep
from tests.host_waits import cuda_path
from tests.launches import Launches

__all__ = ["cuda_path"]
MOST_OF_THE_IMAGE_VOLUME = 1.05  # times those of the metric one


@pytest.mark.usefixtures("cuda_path")
def test_the_image_volume_takes_hardly_more_than_the_metric_one() -> None:
    counted = {}
    for volume in ("metric", "image"):
        model = build_network(
            ModelConfig(volume=volume, deconv_channels=[8], volume_depth=4), (64, 64), HUMAN36M.root, pretrained=False
        )
        criterion = build_criterion(LossConfig(), model.space)
        step = TrainStep(
            model, build_optimizer(OptimizerConfig(), model), metric=partial(mean_distance_mm, space=model.space),
            device=torch.device("cpu"), precision=torch.bfloat16, accumulation_steps=1, clip_gradient=1.0,
            ema_decay=0.9, distributed=False,
        )  # fmt: skip
        views = CropViews(torch.ones(2, 9), torch.ones(2, 2, 3), torch.ones(2, 3), torch.ones(2, 3, 3))
        images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
        batch = PoseBatch(torch.arange(2), images, torch.randn(2, 17, 3), torch.rand(2, 17, 2), views=views)
        with Launches("cpu") as launches:
            step(batch, partial(criterion, weights=LossWeights(1.0, 1e-4)), 1e-3)
        counted[volume] = launches.found.total()
    assert counted["metric"] > 500  # they are seen
    assert counted["image"] <= MOST_OF_THE_IMAGE_VOLUME * counted["metric"], counted
