"""The network of an experiment together with the criterion that fits it."""

from pathlib import Path

import torch
from torch import Tensor, nn

from integral_pose.config.schema import Config
from integral_pose.contracts import PoseBatch
from integral_pose.data.course import read_statistics
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.losses import Criterion, build_criterion
from integral_pose.models.pose_net import PoseNet, build_network
from integral_pose.skeleton import HUMAN36M


def build_model(config: Config, device: torch.device) -> tuple[PoseNet, Criterion]:
    """The network on `device`, drawn from torch's global generator or pretrained, and its criterion."""
    statistics_mm = None
    if config.model.head == "regression" or config.model.axis_terms:
        statistics = read_statistics(Path(config.data.root), joint_order=config.data.joint_order)
        statistics_mm = torch.from_numpy(statistics.mean_mm), torch.from_numpy(statistics.std_mm)
    model = build_network(
        config.model, config.data.image_size, HUMAN36M.root, pretrained=True, statistics_mm=statistics_mm
    )
    if config.trainer.sync_batch_norm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    memory_format = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
    model = model.to(device).to(memory_format=memory_format)
    flow = model.uncertainty.flow if model.uncertainty else None
    return model, build_criterion(config.loss, model.space, flow.log_density if flow else None)


def mean_distance_mm(joints: Tensor, batch: PoseBatch, space: PoseSpace) -> Tensor:
    """MPJPE, a scalar, of predicted joints (B, J, 3) in the units of `space` against a batch's labels."""
    return (space.decode_labelled(joints, batch) - batch.joints_camera_mm).norm(dim=-1).mean()
