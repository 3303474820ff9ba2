"""The front door: train and test an experiment. Knows every room; the rooms do not know each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from integral_pose.config import Config
from integral_pose.config_file import load_config_text, to_yaml
from integral_pose.contracts import PoseBatch, Predictions, Scores
from integral_pose.data.augmentation import build_augmentation, build_device_augmentation
from integral_pose.data.course import (
    PoseTable,
    evenly_spaced,
    read_statistics,
    read_test,
    read_train,
    split_by_subject,
)
from integral_pose.data.loader import EvaluationBatches, PoseImages, TrainingBatches
from integral_pose.errors import CheckpointError, ConfigError, DataError
from integral_pose.evaluation.evaluator import evaluate
from integral_pose.evaluation.figures import draw_curves, write_png
from integral_pose.evaluation.inference import predict
from integral_pose.evaluation.report import write_predictions_csv, write_scores_json
from integral_pose.illustrations import illustrate
from integral_pose.losses import build_loss
from integral_pose.models.heads import RegressionHead
from integral_pose.models.pose_net import PoseNet, build_model
from integral_pose.skeleton import HUMAN36M
from integral_pose.training.checkpoint import find_checkpoint, load_checkpoint, load_weights, newest_run
from integral_pose.training.distributed import Processes, processes
from integral_pose.training.hardware import choose_device, choose_precision, explained_shortage
from integral_pose.training.run_folder import RunFolder, read_metrics
from integral_pose.training.schedule import build_learning_rate, build_optimizer
from integral_pose.training.status import RunStatus, run_status
from integral_pose.training.step import TrainStep
from integral_pose.training.stop_signal import ScoringStopped, StopSignal, stop_signal
from integral_pose.training.trainer import Stage, Trainer, TrainerSettings

# What may differ between two starts of one run, since it does not change the weights.
FREE_KEYS = {
    "run_dir", "data.root", "data.workers", "trainer.device", "trainer.max_steps", "trainer.checkpoint_every",
    "trainer.log_every", "trainer.compile", "trainer.pictures_every", "evaluation.batch_size",
    "data.worker_timeout_s", "trainer.process_timeout_s", "trainer.max_time",
}  # fmt: skip


@dataclass(frozen=True)
class TestResult:
    """What `test` wrote, and the scores where the test set has labels."""

    checkpoint: Path
    predictions_csv: Path
    truth: Path
    scores: Scores | None
    mean_pose: Scores | None  # of always saying the mean training pose


def train(config: Config) -> Path:
    """Train an experiment, or continue it where it stopped; returns its run folder.

    Raises ConfigError and DataError before the first step where the fault can be known then, CheckpointError
    if the run folder holds another experiment, Interrupted after a signal with everything saved.
    """
    device = choose_device(config.trainer.device)
    run_dir = Path(config.run_dir)
    with (
        stop_signal(config.trainer.max_seconds) as stop,
        run_status(run_dir, int(os.environ.get("RANK", "0"))) as status,
        processes(device.type, config.trainer.process_timeout_s) as group,
    ):
        stop.at_once = lambda: status.ended(KeyboardInterrupt("ended at once by a second Ctrl-C; nothing was saved"))
        folder = RunFolder(run_dir, writes=group.is_first)
        _check_same_experiment(config, folder)
        trainer = _build_trainer(config, device, group, folder, stop, status)
        trainer.resume()
        folder.start(to_yaml(config), seed=config.seed, device=_describe(device), step=trainer.progress.step)
        status.running(trainer.progress.step, trainer.num_steps)
        try:
            with explained_shortage(device, "trainer.batch_size, or raise trainer.accumulation_steps"):
                trainer.fit()
        finally:
            folder.close()
            if group.is_first:
                _draw_curves(folder)
    return folder.path


def test(path: Path | None, overrides: list[str]) -> TestResult:
    """Predict the test set with a checkpoint (None: the newest run's best) and write the CSV beside it.

    The configuration is the checkpoint's own, changed by `overrides`. With labels, scores.json too.
    """
    checkpoint = find_checkpoint(path or newest_run())
    content = load_checkpoint(checkpoint)
    config = load_config_text(content["config"], str(checkpoint), overrides).config
    model = build_model(config, pretrained=False)
    load_weights(model, content["model"], checkpoint)
    device = choose_device(config.trainer.device)
    table = read_test(Path(config.data.root), joint_order=config.data.joint_order)
    predictions = build_predictor(config, table, device, Processes())(
        model.to(device).to(memory_format=torch.channels_last)
    )
    truth = Path(config.data.root) / "annot" / "valid.h5"
    csv = checkpoint.parent / "predictions.csv"
    write_predictions_csv(csv, predictions.joints_camera_mm, HUMAN36M)
    if not table.has_labels:
        return TestResult(checkpoint, csv, truth, None, None)
    scores = _score(table, predictions)
    mean_pose = mean_pose_scores(Path(config.data.root), table, config.data.joint_order)
    extra = {"mean_pose_mpjpe_mm": mean_pose.mpjpe_mm, "checkpoint": str(checkpoint), "data_root": config.data.root}
    write_scores_json(checkpoint.parent / "scores.json", scores, extra)
    return TestResult(checkpoint, csv, truth, scores, mean_pose)


def test_several(paths: list[Path], overrides: list[str]) -> list[TestResult]:
    """`test` on each. Raises ConfigError before the first where two would write the same predictions.csv."""
    folders = [find_checkpoint(path).parent.resolve() for path in paths]
    doubled = next((folder for folder in folders if folders.count(folder) > 1), None)
    if doubled:
        raise ConfigError(
            f"{doubled}: two of the checkpoints lie here and would write one predictions.csv; copy one away"
        )
    return [test(path, overrides) for path in paths]


def mean_pose_scores(root: Path, table: PoseTable, joint_order: str = "auto") -> Scores:
    """Scores of always saying the mean training pose: what a model must beat to have learnt anything."""
    poses = np.broadcast_to(read_statistics(root, joint_order=joint_order).mean_mm, table.joints_camera_mm.shape)
    return _score(table, Predictions(np.arange(len(table)), poses))


def build_predictor(
    config: Config, table: PoseTable, device: torch.device, group: Processes, stop: StopSignal | None = None
) -> Callable[[nn.Module], Predictions]:
    """model -> predictions of every row of `table`, shared among the processes.

    Raises ScoringStopped, in every process, where `stop` came up in any before its share was done.
    """
    _check_can_lift(config, table)
    precision = choose_precision(config.evaluation.precision, device)
    batches = EvaluationBatches(
        PoseImages(table, config.data.stored_size, config.data.image_size, augmentation=None),
        config.evaluation.batch_size,
        workers=config.data.workers,
        rank=group.rank,
        world=group.world,
        pin_memory=device.type == "cuda",
        worker_timeout_s=config.data.worker_timeout_s,
        leave=lambda: bool(stop),
    )

    def gather(arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        if any(group.gather(bool(stop))):
            raise ScoringStopped
        parts = group.gather(arrays)
        return [np.concatenate([part[i] for part in parts]) for i in range(len(arrays))]

    def predictor(model: nn.Module) -> Predictions:
        with (
            torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32),
            explained_shortage(device, "evaluation.batch_size"),
        ):
            return predict(
                cast(PoseNet, model),
                batches,
                device,
                flip=config.evaluation.flip,
                gather=gather,
                disable_progress=not group.is_first,
            )

    return predictor


def _build_trainer(
    config: Config, device: torch.device, group: Processes, folder: RunFolder, stop: StopSignal, status: RunStatus
) -> Trainer:
    table, held_out = _read_training_data(config)
    torch.manual_seed(config.seed)
    model = _build_training_model(config, device)
    on_device = build_device_augmentation(config.data.augmentation, config.seed, HUMAN36M.flip_order)
    batches = TrainingBatches(
        PoseImages(
            table,
            config.data.stored_size,
            config.data.image_size,
            build_augmentation(config.data.augmentation, config.seed),
            draw=on_device.draw if on_device else None,
            skip_bad=config.data.on_bad_image == "skip",
        ),
        config.trainer.batch_size,
        seed=config.seed,
        workers=config.data.workers,
        rank=group.rank,
        world=group.world,
        pin_memory=device.type == "cuda",
        worker_timeout_s=config.data.worker_timeout_s,
    )
    stages = [
        Stage(
            stage.epochs,
            build_loss(stage.weights, config.loss, model.space),
            build_learning_rate(stage, len(batches)),
        )
        for stage in config.stages
    ]
    return Trainer(
        train_step=_build_step(config, model, device, group, on_device),
        batches=batches,
        stages=stages,
        settings=_settings(config),
        folder=folder,
        processes=group,
        evaluate=None if held_out is None else _build_scorer(config, held_out, device, group, stop),
        illustrate=_build_illustrator(config, held_out if held_out is not None else table, device),
        config_yaml=to_yaml(config),
        stop=stop,
        status=status,
    )


def _build_scorer(
    config: Config, table: PoseTable, device: torch.device, group: Processes, stop: StopSignal
) -> Callable[[nn.Module], Scores]:
    predictor = build_predictor(config, table, device, group, stop)
    return lambda model: _score(table, predictor(model))


def _read_training_data(config: Config) -> tuple[PoseTable, PoseTable | None]:
    """Images to learn from, and held-out ones to choose the best epoch by."""
    if config.model.num_joints != HUMAN36M.num_joints:
        raise ConfigError(
            f"model.num_joints is {config.model.num_joints}, but the labels in {config.data.root} are of the "
            f"{HUMAN36M.num_joints} joints of Human3.6M; set it to {HUMAN36M.num_joints}"
        )
    table = read_train(Path(config.data.root), joint_order=config.data.joint_order)
    if not config.data.val_subjects:
        return table, None
    table, held_out = split_by_subject(table, config.data.val_subjects)
    return table, evenly_spaced(held_out, config.data.val_limit)


def _build_training_model(config: Config, device: torch.device) -> PoseNet:
    model = build_model(config)
    if isinstance(model.head, RegressionHead):
        statistics = read_statistics(Path(config.data.root), joint_order=config.data.joint_order)
        model.head.mean_mm.copy_(torch.from_numpy(statistics.mean_mm))
        model.head.std_mm.copy_(torch.from_numpy(statistics.std_mm))
    if config.trainer.sync_batch_norm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    memory_format = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
    return model.to(device).to(memory_format=memory_format)


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
    return TrainStep(
        model,
        build_optimizer(config.optimizer, model),
        device=device,
        precision=choose_precision(config.trainer.precision, device),
        accumulation_steps=config.trainer.accumulation_steps,
        clip_gradient=config.trainer.clip_gradient,
        ema_decay=config.trainer.ema_decay,
        distributed=group.world > 1,
        compress_gradients=config.trainer.compress_gradients,
        compiled=config.trainer.compile == "on" or (config.trainer.compile == "auto" and device.type == "cuda"),
        augment=augment,
    )


def _settings(config: Config) -> TrainerSettings:
    return TrainerSettings(
        batch_size=config.trainer.batch_size,
        max_steps=config.trainer.max_steps,
        checkpoint_every=config.trainer.checkpoint_every,
        log_every=config.trainer.log_every,
        pictures_every_epochs=config.trainer.pictures_every,
        evaluate_every_epochs=config.evaluation.every,
    )


def _check_can_lift(config: Config, table: PoseTable) -> None:
    if config.model.volume == "image" and table.views is None:
        raise DataError(
            f"model.volume image: poses in mm need the camera, the crop's place and the root's depth, and the .h5 of "
            f"these images in {config.data.root}/annot lacks some of 'camera', 'crop_to_image', 'root_camera_mm'. "
            "Write it with integral-pose prepare; training alone does without (data.val_subjects=[])"
        )


def _build_illustrator(
    config: Config, table: PoseTable, device: torch.device
) -> Callable[[nn.Module], Mapping[str, NDArray[np.uint8]]]:
    """model -> pictures of a few samples that stay the same throughout the run."""
    if config.model.volume == "image" and table.views is None:
        return lambda model: {}
    few = evenly_spaced(table, 6)
    images = PoseImages(few, config.data.stored_size, config.data.image_size, augmentation=None)
    return lambda model: illustrate(model, images, device)


def _score(table: PoseTable, predictions: Predictions) -> Scores:
    return evaluate(predictions, table.joints_camera_mm, [table.name(row) for row in range(len(table))])


def _check_same_experiment(config: Config, folder: RunFolder) -> None:
    """A run folder belongs to one experiment: continuing it with other settings would be neither of the two."""
    if not folder.last.exists():
        return
    stored = load_config_text(load_checkpoint(folder.last)["config"], str(folder.last), ()).config
    differing = [
        f"{key}: {old!r} there, {new!r} now"
        for key, old, new in _differences(stored.model_dump(), config.model_dump())
        if key not in FREE_KEYS
    ]
    if differing:
        raise CheckpointError(
            f"{folder.path}: holds a run with other settings ({'; '.join(differing[:6])}). Choose another folder "
            f"with run_dir=PATH, or move {folder.path} away to start anew"
        )


def _differences(old: Any, new: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = list(dict.fromkeys([*old, *new]))
        return [
            found
            for name in names
            for found in _differences(old.get(name), new.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if old == new else [(key, old, new)]


def _draw_curves(folder: RunFolder) -> None:
    """Loss terms and errors of the run so far as curves.png."""
    names = {("train", "mpjpe_mm"): "training batches", ("val", "mpjpe_mm"): "held out"}
    rows = [
        {names.get((row["group"], name), name): value for name, value in row.items()}
        for row in read_metrics(folder.metrics)
    ]
    if rows:
        write_png(folder.path / "curves.png", draw_curves(rows, ["integral", "heatmap"], list(names.values())))


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
