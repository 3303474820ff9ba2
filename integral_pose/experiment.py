"""The front door: train and test an experiment. Knows every room; the rooms do not know each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from integral_pose.changes import Change, Position, find_changes, kind_of, why_forbidden
from integral_pose.config import Config
from integral_pose.config_file import load_config_text, to_yaml
from integral_pose.contracts import PoseBatch, Predictions, Scores
from integral_pose.data.augmentation import build_augmentation, build_device_augmentation
from integral_pose.data.course import (
    PoseTable,
    evenly_spaced,
    read_bone_length_mm,
    read_statistics,
    read_test,
    read_train,
    split_by_subject,
)
from integral_pose.data.loader import EvaluationBatches, PoseImages, TrainingBatches
from integral_pose.errors import CheckpointError, ConfigError, DataError, IntegralPoseError
from integral_pose.evaluation.confidence import RADIUS_CELLS
from integral_pose.evaluation.crops import crop_changes
from integral_pose.evaluation.evaluator import evaluate
from integral_pose.evaluation.figures import draw_curves, write_png
from integral_pose.evaluation.inference import PlaceRoot, predict
from integral_pose.evaluation.report import write_confidence_csv, write_predictions_csv, write_scores_json
from integral_pose.geometry.coordinates import ImageVolume, PoseSpace
from integral_pose.geometry.lifting import at_root_depth
from integral_pose.illustrations import illustrate
from integral_pose.loading import configuration_of, load_network
from integral_pose.losses import build_loss
from integral_pose.model_file import BONE_LENGTH_MM
from integral_pose.models.heads import RegressionHead
from integral_pose.models.pose_net import PoseNet, build_model, build_space
from integral_pose.models.start import start_from
from integral_pose.official import OfficialImageVolume, OfficialJoints, official_network
from integral_pose.skeleton import HUMAN36M
from integral_pose.training.checkpoint import Found, find_checkpoint, load_newest, newest_run
from integral_pose.training.distributed import Processes, processes
from integral_pose.training.hardware import choose_device, choose_precision, explained_shortage
from integral_pose.training.run_folder import RunFolder, read_metrics
from integral_pose.training.schedule import build_learning_rate, build_optimizer
from integral_pose.training.status import RunStatus, run_status
from integral_pose.training.step import TrainStep
from integral_pose.training.stop_signal import ScoringStopped, StopSignal, stop_signal
from integral_pose.training.trainer import Stage, Trainer, TrainerSettings


@dataclass(frozen=True)
class TestResult:
    """What `test` wrote, and the scores where the test set has labels."""

    checkpoint: Path
    predictions_csv: Path
    truth: Path
    scores: Scores | None
    mean_pose: Scores | None  # of always saying the mean training pose
    weights: str = ""  # which of the checkpoint's, in words
    lifting: str | None = None  # where the root's depth came from; None: the network says mm
    confidence_csv: Path | None = None
    scores_json: Path | None = None


def train(config: Config, *, allow_change: bool = False) -> Path:
    """Train an experiment, or continue it where it stopped; returns its run folder.

    Raises OutputError where the run folder cannot be written or another run has it, CheckpointError if it holds
    another experiment, ConfigError and DataError before the first step where the fault can be known then,
    Interrupted after a signal with everything saved. `allow_change` continues with other learning rates and the
    like; see `changes`.
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
        try:
            folder.open()
            status.is_ours = True
            found, changes = _find_start(config, folder, group, allow_change=allow_change)
            trainer = build_trainer(config, device, group, folder, stop, status, begins=found is None)
            if found:
                trainer.resume(found, changes)
            folder.start(to_yaml(config), seed=config.seed, device=_describe(device), step=trainer.progress.step)
            status.running(trainer.progress.step, trainer.num_steps)
            try:
                with explained_shortage(device, "trainer.batch_size, or raise trainer.accumulation_steps"):
                    trainer.fit()
            finally:
                if group.is_first:
                    folder.attempt("curves.png", lambda: _draw_curves(folder))
        except IntegralPoseError as error:
            status.ended(error)  # now, before the other processes notice that this one is leaving
            raise
        finally:
            folder.close()
    return folder.path


def test(path: Path | None, overrides: list[str]) -> TestResult:
    """Predict the test set with a checkpoint (None: the newest run's best) and write the CSV beside it.

    The configuration is the checkpoint's own, changed by `overrides`. With labels, scores.json too; `_beside` says
    how the files are called.
    """
    checkpoint = find_checkpoint(path or newest_run())
    config, model, weights = _load_for_test(checkpoint, overrides)
    device = choose_device(config.trainer.device)
    root = Path(config.data.root)
    table = read_test(root, joint_order=config.data.joint_order)
    place_root, lifting = _build_root_placement(config, model.space)
    if model.space.needs_views:
        _check_can_lift(config, table)
    predictor = build_predictor(
        config, table, device, Processes(), place_root=place_root, confidence=config.evaluation.confidence
    )
    predictions = predictor(model.to(device).to(memory_format=torch.channels_last))
    csv = _beside(checkpoint, "predictions.csv")
    write_predictions_csv(csv, predictions.joints_camera_mm, HUMAN36M)
    confidence_csv = None
    if predictions.confidence is not None:
        confidence_csv = _beside(checkpoint, "confidence.csv")
        order = model.order if isinstance(model, OfficialJoints) else slice(None)
        write_confidence_csv(confidence_csv, predictions.confidence[:, order], HUMAN36M)
    result = TestResult(
        checkpoint, csv, root / "annot" / "valid.h5", None, None, weights, lifting, confidence_csv=confidence_csv
    )
    if not table.has_labels:
        return result
    scores = _score(table, predictions)
    mean_pose = mean_pose_scores(root, table, config.data.joint_order)
    extra = {
        "mean_pose_mpjpe_mm": mean_pose.mpjpe_mm, "checkpoint": str(checkpoint), "data_root": config.data.root,
        "weights": weights, "lifting": lifting, "flip": config.evaluation.flip, "crops": config.evaluation.crops,
    }  # fmt: skip
    scores_json = _beside(checkpoint, "scores.json")
    write_scores_json(scores_json, scores, extra)
    return replace(result, scores=scores, mean_pose=mean_pose, scores_json=scores_json)


def test_several(paths: list[Path], overrides: list[str]) -> list[TestResult]:
    """`test` on each. Raises ConfigError before the first where two would write the same predictions.csv."""
    written: dict[Path, Path] = {}
    for path in paths:
        csv = _beside(find_checkpoint(path).resolve(), "predictions.csv")
        if csv in written:
            raise ConfigError(
                f"{written[csv]} and {path} would write one {csv}; leave one of them out, or copy it elsewhere"
            )
        written[csv] = path
    return [test(path, overrides) for path in paths]


def _load_for_test(checkpoint: Path, overrides: list[str]) -> tuple[Config, PoseNet | OfficialJoints, str]:
    """How to test a checkpoint, its network for the joints of Human3.6M, and which weights these are, in words."""
    loaded = load_network(checkpoint)
    config = configuration_of(loaded, overrides)
    wanted = config.evaluation.weights
    if wanted == "raw":
        loaded = load_network(checkpoint, wanted)
    loaded.network.debiased = config.model.decoder == "debiased"
    model = official_network(loaded, config.data.image_size)
    if loaded.config_yaml is None:
        return config, model, "those of the model file"
    return config, model, wanted if config.trainer.ema_decay > 0 else "as trained, without an average"


def _beside(checkpoint: Path, name: str) -> Path:
    """Where a result of a checkpoint goes: NAME.csv for what its folder stands for, else NAME-last.csv by its own."""
    is_default = not any((checkpoint.parent / other).exists() for other in ("best.pt", "last.pt")) or (
        find_checkpoint(checkpoint.parent).name == checkpoint.name
    )
    stem, suffix = name.rsplit(".", 1)
    return checkpoint.with_name(name if is_default else f"{stem}-{checkpoint.stem}.{suffix}")


def mean_pose_scores(root: Path, table: PoseTable, joint_order: str = "auto") -> Scores:
    """Scores of always saying the mean training pose: what a model must beat to have learnt anything."""
    poses = np.broadcast_to(read_statistics(root, joint_order=joint_order).mean_mm, table.joints_camera_mm.shape)
    return _score(table, Predictions(np.arange(len(table)), poses))


def build_predictor(
    config: Config,
    table: PoseTable,
    device: torch.device,
    group: Processes,
    *,
    place_root: PlaceRoot | None = None,
    confidence: bool = False,
    stop: StopSignal | None = None,
) -> Callable[[nn.Module], Predictions]:
    """model -> predictions of every row of `table`, shared among the processes.

    Raises ScoringStopped, in every process, where `stop` came up in any before its share was done.
    """
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
                crops=crop_changes(config.evaluation.crops, scale_depth=config.data.augmentation.scale_depth),
                place_root=place_root,
                confidence_radius_cells=RADIUS_CELLS if confidence else None,
                gather=gather,
                disable_progress=not group.is_first,
            )

    return predictor


def _find_start(
    config: Config, folder: RunFolder, group: Processes, *, allow_change: bool
) -> tuple[Found | None, list[dict[str, Any]]]:
    """The newest whole checkpoint of the folder, and what was changed in the configuration since it was written."""
    found = load_newest(folder.last)
    steps = group.gather(found and found.content["progress"]["step"])
    if len(set(steps)) > 1:
        raise CheckpointError(
            f"{folder.path}: the processes would continue from different steps {steps} (None: no checkpoint); "
            "run_dir must be on a disk that all nodes see"
        )
    if found is None:
        return None, []
    changes = _require_same_experiment(config, folder, found, allow_change=allow_change)
    if group.is_first:
        _tell(found, changes)
    return found, [change._asdict() for change in changes if kind_of(change.key) != "free"]


def build_trainer(
    config: Config,
    device: torch.device,
    group: Processes,
    folder: RunFolder,
    stop: StopSignal,
    status: RunStatus,
    *,
    begins: bool,
) -> Trainer:
    """All that `train` trains with, not yet started and not resumed. `begins`: no checkpoint is read afterwards."""
    table, held_out = _read_training_data(config)
    torch.manual_seed(config.seed)
    model = _build_training_model(config, device)
    if config.model.init and begins:  # a run that goes on has weights of its own
        _begin_with(model, Path(config.model.init), group)
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
        epoch_images=config.data.epoch_images,
        worker_timeout_s=config.data.worker_timeout_s,
    )
    stages = [
        Stage(
            stage.epochs,
            build_loss(stage.weights, config.loss, model.space, debiased=model.debiased),
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
    _check_can_lift(config, table)
    place_root, _ = _build_root_placement(config, build_space(config.model, config.data.image_size, HUMAN36M.root))
    predictor = build_predictor(config, table, device, group, place_root=place_root, stop=stop)
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


def _begin_with(model: PoseNet, path: Path, group: Processes) -> None:
    """The weights of a trained network where they fit, and a line that says which."""
    given = load_network(path)
    state, summary = start_from(
        model.state_dict(), HUMAN36M.names, given.network.state_dict(), given.description.skeleton.names, str(path)
    )
    model.load_state_dict(state)
    if group.is_first:
        print(summary, file=sys.stderr)


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
        keep_checkpoints=config.trainer.keep_checkpoints,
        log_every=config.trainer.log_every,
        pictures_every_epochs=config.trainer.pictures_every,
        evaluate_every_epochs=config.evaluation.every,
    )


def _check_can_lift(config: Config, table: PoseTable) -> None:
    if config.model.volume != "image":
        return
    if table.views is None:
        raise DataError(
            f"model.volume image: poses in mm need the camera, the crop's place and the root's depth, and the .h5 of "
            f"these images in {config.data.root}/annot lacks some of 'camera', 'crop_to_image', 'root_camera_mm'. "
            "Write it with integral-pose prepare; training alone does without (data.val_subjects=[])"
        )
    if config.evaluation.root_depth == "labels" and not table.views.has_roots:
        raise DataError(
            f"evaluation.root_depth is labels, but {config.data.root}/annot/valid.h5 has no 'root_camera_mm'; say how "
            "far away people are with evaluation.root_depth=bone_length or a number of mm"
        )


def _build_root_placement(config: Config, space: PoseSpace) -> tuple[PlaceRoot | None, str | None]:
    """What sets the roots' depths before lifting, None where they stay; and in words, None where nothing is lifted."""
    if not isinstance(space, ImageVolume | OfficialImageVolume):
        return None, None
    root_depth = config.evaluation.root_depth
    if root_depth == "labels":
        return None, "root depth from the labels"
    if root_depth == "bone_length":
        learnt_mm = read_bone_length_mm(Path(config.data.root))
        length_mm = learnt_mm or BONE_LENGTH_MM
        source = "the mean of annot/train.h5" if learnt_mm else "of the packaged bodies, as there is no annot/train.h5"
        place = partial(space.at_bone_length, bones=HUMAN36M.bones, total_bone_length_mm=length_mm)
        return place, f"root depth by bone length, {length_mm:,.0f} mm in all ({source})"
    depth_mm = root_depth
    return (lambda joints, views: at_root_depth(views, depth_mm)), f"root depth {depth_mm:g} mm, as given"


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


def _require_same_experiment(config: Config, folder: RunFolder, found: Found, *, allow_change: bool) -> list[Change]:
    """What differs from the configuration of a checkpoint; raises CheckpointError where that is not allowed.

    A run folder belongs to one experiment: continuing it with other settings would be neither of the two.
    """
    old = load_config_text(found.content["config"], str(found.path), ()).config.model_dump()
    new = config.model_dump()
    position = Position(found.content["progress"]["epoch"], found.content["progress"]["batch"])
    changes = find_changes(old, new)
    forbidden = [(change, why_forbidden(change, old, new, position)) for change in changes]
    lines = [f"  {change} - not possible: {why}" for change, why in forbidden if why]
    if not allow_change:
        asked_for = [change for change, why in forbidden if not why and kind_of(change.key) == "asked for"]
        lines += [f"  {change} - possible with --allow-change" for change in asked_for]
    if lines:
        raise CheckpointError(
            "\n".join([f"{folder.path}: holds a run with other settings:", *lines, "Choose another folder with "
                       f"run_dir=PATH, or move {folder.path} away to start anew"])
        )  # fmt: skip
    return changes


def _tell(found: Found, changes: list[Change]) -> None:
    """What is not as it was when the run stopped."""
    for fault in found.damaged.values():
        print(f"{fault}. Continuing from {found.path}", file=sys.stderr)
    for change in changes:
        print(f"{found.path.parent}: continuing with another {change}", file=sys.stderr)


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
