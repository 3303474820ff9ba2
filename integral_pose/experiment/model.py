"""The network of an experiment together with the criterion that fits it."""

import torch
from torch import Tensor, nn

from integral_pose.config.schema import Config
from integral_pose.contracts import TrainingBatch
from integral_pose.data.course import PoseTable
from integral_pose.data.pose_statistics import PoseStatistics
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.geometry.labelled_means import mean_and_deviation
from integral_pose.losses import Criterion, build_criterion
from integral_pose.models.pose_net import PoseNet, build_network, build_space
from integral_pose.skeleton import Skeleton

MeanAndDeviation = tuple[Tensor, Tensor]  # (J, 3) each


def build_model(
    config: Config,
    device: torch.device,
    skeleton: Skeleton,
    statistics: PoseStatistics,
    prior: MeanAndDeviation | None,
) -> tuple[PoseNet, Criterion]:
    """The network on `device`, drawn from torch's global generator or pretrained, and its criterion.

    `statistics` are of the training poses, `prior` is what `prior_of` makes of them.
    """
    mean_and_std_mm = torch.from_numpy(statistics.mean_mm), torch.from_numpy(statistics.std_mm)
    model = build_network(
        config.model,
        config.data.image_size,
        skeleton.root,
        pretrained=True,
        statistics_mm=mean_and_std_mm if config.model.head == "regression" else None,
        statistics_norm=prior,
    )
    if config.trainer.sync_batch_norm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    memory_format = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
    model = model.to(device).to(memory_format=memory_format)
    flow = model.uncertainty.flow if model.uncertainty else None
    return model, build_criterion(config.loss, model.space, flow.log_density if flow else None)


def prior_of(config: Config, table: PoseTable, statistics: PoseStatistics) -> MeanAndDeviation | None:
    """Mean and deviation of the training labels in the units of the volume, for heads that begin with them.

    Those of the image volume are of the crops before they are augmented.
    """
    if not config.model.has_prior:
        return None
    space = build_space(config.model, config.data.image_size, table.skeleton.root)
    if config.model.volume == "metric":
        return space.encode(torch.from_numpy(statistics.mean_mm)), space.encode(torch.from_numpy(statistics.std_mm))
    labels_norm = labels_in(space, table, config).double()
    if torch.isnan(labels_norm).any():
        mean_norm, std_norm = map(torch.from_numpy, mean_and_deviation(labels_norm.numpy()))
        return mean_norm.float(), std_norm.float()
    return labels_norm.mean(0).float(), labels_norm.std(0, correction=0).float()


def labels_in(space: PoseSpace, table: PoseTable, config: Config) -> Tensor:
    """(N, J, 3) labels in the units of the volume, before augmentation."""
    height_px, width_px = config.data.image_size
    px_per_stored_px = torch.tensor([width_px, height_px]) / config.data.stored_size
    crop_px = torch.from_numpy(table.joints_crop_px) * px_per_stored_px
    return space.encode(torch.from_numpy(table.joints_camera_mm), crop_px)


def mean_distance_mm(joints: Tensor, batch: TrainingBatch, space: PoseSpace) -> Tensor:
    """MPJPE, a scalar, of predicted joints (B, J, 3) in the units of `space` against a batch's labels, of those it has.

    NaN where it has none.
    """
    parts = zip(joints.split([len(samples) for samples in batch.sources]), batch.sources, strict=True)
    in_mm = [(own, samples) for own, samples in parts if samples.has_mm]
    distances_mm = [
        (space.decode_labelled(own, samples) - samples.joints_camera_mm).norm(dim=-1) for own, samples in in_mm
    ]
    is_complete = all(samples.is_complete for _, samples in in_mm)
    distance_mm = torch.cat(distances_mm)
    return distance_mm.mean() if is_complete else distance_mm.nanmean()
