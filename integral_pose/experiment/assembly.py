"""From a configuration to a trainer: data, model, losses and scoring put together."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from integral_pose.config.schema import Config
from integral_pose.contracts import PoseBatch, Scores
from integral_pose.data.augmentation import build_augmentation, build_device_augmentation
from integral_pose.data.course import PoseTable, evenly_spaced, labelled_rows, read_train, split_by_subject
from integral_pose.data.device_augmentation import DeviceAugmentation
from integral_pose.data.joints_in_crop import require_inside_crop
from integral_pose.data.loader import PoseImages, TrainingBatches
from integral_pose.data.mixed_batches import MixedBatches, SourceImages, seed_of_source
from integral_pose.data.pose_statistics import PoseStatistics, statistics_of
from integral_pose.data.subjects import read_subjects
from integral_pose.errors import ConfigError, DataError
from integral_pose.experiment.model import MeanAndDeviation, build_model, mean_distance_mm, prior_of
from integral_pose.experiment.sample_figures import draw_samples
from integral_pose.experiment.scoring import build_root_placement, build_scorer, check_can_lift, score
from integral_pose.experiment.sources import Source, build_mixed_criterion, read_other_sources, require_shares
from integral_pose.io.devices import choose_precision
from integral_pose.io.distributed import Processes
from integral_pose.io.notices import notify
from integral_pose.io.skeleton_file import read_skeleton
from integral_pose.losses import LossWeights
from integral_pose.models.pose_net import PoseNet, build_space
from integral_pose.runs.output import RunOutput
from integral_pose.runs.stop import StopSignal
from integral_pose.training.plan import Stage, TrainerSettings
from integral_pose.training.schedule import build_learning_rate, build_optimizer
from integral_pose.training.step import TrainStep
from integral_pose.training.trainer import Trainer
from integral_pose.weights.initialisation import initialise_from
from integral_pose.weights.stored_network import load_network

SMALL_SHARE = 16  # images a process and forward pass


class HowToLoad(TypedDict):
    """What batches of one source and of several need to know alike."""

    seed: int
    workers: int
    rank: int
    world: int
    pin_memory: bool
    epoch_images: int | None
    worker_timeout_s: int


class TrainingData(NamedTuple):
    """Images to learn from, held-out ones to choose the best epoch by, and what is known of both together.

    `others` are what every batch holds besides `train`.
    """

    train: PoseTable
    held_out: PoseTable | None
    statistics: PoseStatistics
    prior: MeanAndDeviation | None
    others: Sequence[Source] = ()


def build_trainer(
    config: Config,
    data: TrainingData,
    device: torch.device,
    group: Processes,
    output: RunOutput,
    stop: StopSignal,
    *,
    begins: bool,
) -> Trainer:
    """All that `train` trains with, not yet started and not resumed. `begins`: no checkpoint is read afterwards."""
    table, held_out, others = data.train, data.held_out, data.others
    torch.manual_seed(config.seed)
    model, criterion = build_model(config, device, table.skeleton, data.statistics, data.prior)
    if config.model.init and begins:  # a run that goes on has weights of its own
        _initialise_from(model, table.skeleton.names, Path(config.model.init), group)
    on_device = build_device_augmentation(config.data.augmentation, config.seed, table.skeleton.flip_order)
    batches = _build_batches(config, table, others, device, group, on_device)
    loss = build_mixed_criterion(config, criterion, others, device) if others else criterion
    stages = [
        Stage(
            stage.epochs,
            partial(loss, weights=LossWeights(**stage.weights.model_dump())),
            build_learning_rate(stage, len(batches)),
        )
        for stage in config.stages
    ]
    return Trainer(
        train_step=_build_step(config, model, device, group, on_device.change_pixels if on_device else None),
        batches=batches,
        stages=stages,
        settings=_settings(config),
        output=output,
        processes=group,
        stop=stop,
        evaluate=None if held_out is None else _build_evaluation(config, held_out, device, group, stop),
        draw_samples=_build_sample_drawing(config, held_out if held_out is not None else table, device),
    )


def _build_batches(
    config: Config,
    table: PoseTable,
    others: Sequence[Source],
    device: torch.device,
    group: Processes,
    on_device: DeviceAugmentation | None,
) -> TrainingBatches | MixedBatches:
    skip_bad = config.data.on_bad_image == "skip"
    images = build_training_images(config, table, on_device, seed=config.seed, skip_bad=skip_bad)
    how: HowToLoad = {
        "seed": config.seed,
        "workers": config.data.workers,
        "rank": group.rank,
        "world": group.world,
        "pin_memory": device.type == "cuda",
        "epoch_images": config.data.epoch_images,
        "worker_timeout_s": config.data.worker_timeout_s,
    }
    if not others:
        return TrainingBatches(images, config.trainer.batch_size, **how)
    require_shares(config, group)
    mixed = [SourceImages(images, config.data.sources[0].images, config.data.root)]
    for number, source in enumerate(others, start=1):
        seed = seed_of_source(config.seed, number)  # draws and mirrored joints of its own
        own = build_device_augmentation(config.data.augmentation, seed, source.table.skeleton.flip_order)
        images = build_training_images(config, source.table, own, seed=seed, skip_bad=skip_bad)
        mixed.append(SourceImages(images, source.config.images, source.config.root))
    return MixedBatches(mixed, **how)


def build_training_images(
    config: Config, table: PoseTable, on_device: DeviceAugmentation | None, *, seed: int, skip_bad: bool
) -> PoseImages:
    """The images as training sees them, but for what is done `on_device`."""
    return PoseImages(
        table,
        config.data.stored_size,
        config.data.image_size,
        build_augmentation(config.data.augmentation, seed, table.skeleton.flip_order),
        on_device=on_device,
        scaled_decoding=True,
        skip_bad=skip_bad,
    )


def _build_evaluation(
    config: Config, table: PoseTable, device: torch.device, group: Processes, stop: StopSignal
) -> Callable[[nn.Module], Scores]:
    check_can_lift(config, table)
    space = build_space(config.model, config.data.image_size, table.skeleton.root)
    place_root = build_root_placement(config, space, table.skeleton).place
    predictions_of = build_scorer(config, table, device, group, place_root, stop=stop)
    return lambda model: score(table, predictions_of(model))


def with_joints_of_data(config: Config) -> Config:
    """With as many joints as the labels in `data.root` have. Raises ConfigError where it states another number."""
    found = read_skeleton(Path(config.data.root) / "annot").num_joints
    if "num_joints" in config.model.model_fields_set and config.model.num_joints != found:
        raise ConfigError(
            f"model.num_joints is {config.model.num_joints}, but the labels in {config.data.root} are of {found} "
            "joints; leave it out, and it follows from them"
        )
    model = config.model.model_copy(update={"num_joints": found})
    return config.model_copy(update={"model": model})


def read_training_data(config: Config) -> TrainingData:
    """The labels in `data.root`. Raises ConfigError and DataError where they are not what the configuration says."""
    table = read_train(Path(config.data.root), config.data.joint_order, config.data.label_axes)
    require_inside_crop(table, config.data.stored_size, Path(config.data.root))
    if not table.has_labels:
        raise DataError(
            f"{config.data.root}/annot/train.h5: has no 'pose3d'; labels in px alone teach no depth, and are learnt "
            "from beside others in mm"
        )
    statistics = statistics_of(table, Path(config.data.root))
    prior = prior_of(config, table, statistics)
    others = read_other_sources(config, table.skeleton)
    if not config.data.val_subjects:
        return TrainingData(_learnt_from(config, table), None, statistics, prior, others)
    names = [table.name(row) for row in range(len(table))]
    subjects = read_subjects(Path(config.data.root) / "annot" / "train.h5", names)
    table, held_out = split_by_subject(table, config.data.val_subjects, subjects)
    held_out = evenly_spaced(labelled_rows(held_out, from_px=False), config.data.val_limit)
    if not len(held_out):
        raise DataError(f"data.val_subjects {config.data.val_subjects}: none of their joints is labelled in mm")
    return TrainingData(_learnt_from(config, table), held_out, statistics, prior, others)


def _learnt_from(config: Config, table: PoseTable) -> PoseTable:
    """The images with a label at least; how many there are besides is said."""
    labelled = labelled_rows(table, from_px=config.model.volume == "image")
    if not len(labelled):
        raise DataError(f"{config.data.root}: no training image has a label besides the root's")
    if len(labelled) < len(table):
        notify(f"{config.data.root}: {len(table) - len(labelled):,} of {len(table):,} images have no label: left out")
    return labelled


def _initialise_from(model: PoseNet, joints: Sequence[str], path: Path, group: Processes) -> None:
    """Initialise from a trained network's weights where they fit, and print which do."""
    given = load_network(path)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    state, summary = initialise_from(
        model.state_dict(), joints, given.network.state_dict(), given.description.skeleton.names, str(path), frozen
    )
    model.load_state_dict(state)
    if group.is_first:
        notify(summary)


def _build_step(
    config: Config,
    model: PoseNet,
    device: torch.device,
    group: Processes,
    augment: Callable[[PoseBatch], PoseBatch] | None,
) -> TrainStep:
    if config.trainer.batch_size % (group.world * config.trainer.accumulation_steps):
        raise ConfigError(
            f"trainer.batch_size {config.trainer.batch_size} is the batch of all processes and accumulation steps "
            f"together and must be divisible by {group.world} x {config.trainer.accumulation_steps}"
        )
    share = config.trainer.batch_size // (group.world * config.trainer.accumulation_steps)
    if share < SMALL_SHARE and group.world > 1 and group.is_first and not config.trainer.sync_batch_norm:
        notify(
            f"each process makes its batch statistics of {share} images, which below {SMALL_SHARE} are noisy: raise "
            "trainer.batch_size (and the learning rate, docs/scaling.md), or set trainer.sync_batch_norm=true on CUDA"
        )
    return TrainStep(
        model,
        build_optimizer(config.optimizer, model),
        metric=partial(mean_distance_mm, space=model.space),
        device=device,
        precision=choose_precision(config.trainer.precision, device, model),
        accumulation_steps=config.trainer.accumulation_steps,
        clip_gradient=config.trainer.clip_gradient,
        ema_decay=config.trainer.ema_decay,
        distributed=group.world > 1,
        compress_gradients=config.trainer.compress_gradients,
        compiled=config.trainer.compile == "on" or (config.trainer.compile == "auto" and device.type == "cuda"),
        augment=augment,
    )


def _settings(config: Config) -> TrainerSettings:
    every = config.trainer.checkpoint_every
    return TrainerSettings(
        batch_size=config.trainer.batch_size,
        max_steps=config.trainer.max_steps,
        checkpoint_every=every if isinstance(every, int) else None,
        checkpoint_seconds=config.trainer.checkpoint_seconds,
        keep_checkpoints=config.trainer.keep_checkpoints,
        log_every=config.trainer.log_every,
        pictures_every_epochs=config.trainer.pictures_every,
        evaluate_every_epochs=config.evaluation.every,
    )


def _build_sample_drawing(
    config: Config, table: PoseTable, device: torch.device
) -> Callable[[nn.Module], Mapping[str, NDArray[np.uint8]]]:
    """model -> pictures of a few samples that stay the same throughout the run."""
    if config.model.volume == "image" and table.views is None:
        return lambda model: {}
    few = evenly_spaced(table, 6)
    images = PoseImages(few, config.data.stored_size, config.data.image_size, augmentation=None)
    return lambda model: draw_samples(cast(PoseNet, model), images, device)
