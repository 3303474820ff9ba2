"""A run from its folder to its end: found, continued, trained, its status written."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from integral_pose.config.loading import to_yaml
from integral_pose.config.schema import Config
from integral_pose.data.course import PoseTable
from integral_pose.evaluation.metrics import joint_errors_mm
from integral_pose.experiment.assembly import (
    TrainingData,
    build_trainer,
    read_training_data,
    with_joints_of_data,
)
from integral_pose.experiment.augmented_sheet import write_augmented_sheet
from integral_pose.experiment.continuation import find_resume_point, fingerprints_of, require_same_data
from integral_pose.experiment.reach import reach_notice
from integral_pose.experiment.scoring import MEAN_POSE
from integral_pose.geometry.body_size import body_length_mm
from integral_pose.geometry.labelled_means import labelled_mean
from integral_pose.io.arithmetic import arithmetic
from integral_pose.io.devices import choose_device, describe_device, device_name, explained_shortage
from integral_pose.io.distributed import processes
from integral_pose.io.notices import notify, unfailing_stderr
from integral_pose.report.canvas import write_png
from integral_pose.report.curve_figures import draw_curves, loss_words
from integral_pose.runs.folder import RunFolder
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.runs.output import RunOutput
from integral_pose.runs.status import run_status
from integral_pose.runs.stop import stop_signal
from integral_pose.skeleton import HUMAN36M
from integral_pose.training.trainer import Trainer


def train(config: Config, *, allow_change: bool = False) -> Path:
    """Train an experiment, or continue it where it stopped; returns its run folder.

    Raises OutputError where the run folder cannot be written or another run has it, CheckpointError if it holds
    another experiment, ConfigError and DataError before the first step where the fault can be known then,
    Interrupted after a signal with everything saved. `allow_change` continues with other learning rates and the
    like; see `config.changes`.
    """
    device, config = choose_device(config.trainer.device), with_joints_of_data(config)
    run_dir = Path(config.run_dir)
    with (
        unfailing_stderr(),
        arithmetic(deterministic=config.trainer.deterministic),
        stop_signal(config.trainer.max_seconds) as stop,
        run_status(run_dir, int(os.environ.get("RANK", "0"))) as status,
        processes(device.type, config.trainer.process_timeout_s, status.ended) as group,
        RunFolder(run_dir, writes=group.is_first) as folder,
        status.faults_written_at_once(),
    ):
        stop.before_exit = lambda: status.ended(KeyboardInterrupt("ended by a second Ctrl-C; nothing was saved"))
        found, changes = find_resume_point(config, folder, group, allow_change=allow_change)
        status.is_ours = found is not None  # a run that never begins leaves nothing behind
        data = read_training_data(config)
        fingerprints = fingerprints_of(data.train, data.held_out, [source.table for source in data.others])
        if found:
            changes += require_same_data(fingerprints, folder, found, allow_change=allow_change)
        learnt_from = {**fingerprints, **_joints_of(data.train), MEAN_POSE: data.statistics.mean_mm.tolist()}
        output = RunOutput(folder, status, to_yaml(config), group, learnt_from)
        if group.is_first and found is None and (line := reach_notice(config, data.train)):
            notify(line)
        trainer = build_trainer(config, data, device, group, output, stop, begins=found is None)
        if found:
            trainer.resume(found, changes)
        output.start(seed=config.seed, device=device_name(device), step=trainer.state.progress.step)
        if group.is_first:
            notify(f"training on {describe_device(device)}" + (f", {group.world} processes" * (group.world > 1)))
        status.is_ours = True
        status.running(trainer.state.progress.step, trainer.num_steps)
        if folder.writes:
            sheet = run_dir / "pictures" / "augmented.png"
            folder.attempt(sheet.name, lambda: write_augmented_sheet(sheet, config, data.train, device))
        _fit(trainer, output, device, partial(_draw_curves, folder, config, data))
    return run_dir


def _joints_of(table: PoseTable) -> dict[str, Any]:
    """What a checkpoint says of its joints (`weights.stored_network`); the length of Human3.6M's bones is packaged."""
    plain: dict[str, Any] = {"skeleton": asdict(table.skeleton)}
    length_mm = body_length_mm(table.joints_camera_mm, table.skeleton)
    if table.skeleton.names != HUMAN36M.names and np.isfinite(length_mm).any():
        plain["bone_length_mm"] = float(np.nanmean(length_mm))
    return plain


def _fit(trainer: Trainer, output: RunOutput, device: torch.device, draw: Callable[[], None]) -> None:
    """Train, and draw curves.png however that ends."""
    try:
        with explained_shortage(device, "trainer.batch_size, or raise trainer.accumulation_steps"):
            trainer.fit()
    finally:
        if output.folder.writes:
            output.folder.attempt("curves.png", draw)
        output.close()


def _mean_pose_level(data: TrainingData) -> tuple[str, float] | None:
    """The MPJPE of predicting the mean training pose for the held-out images, or the training images where none are.

    None where no pose is known in mm.
    """
    words, table = ("training images", data.train) if data.held_out is None else ("held out", data.held_out)
    poses_mm = np.broadcast_to(data.statistics.mean_mm, table.joints_camera_mm.shape)
    error_mm = float(labelled_mean(joint_errors_mm(poses_mm, table.joints_camera_mm, root=table.skeleton.root)))
    return None if np.isnan(error_mm) else (f"mean pose, {words}", error_mm)


def _draw_curves(folder: RunFolder, config: Config, data: TrainingData) -> None:
    """Loss terms and errors of the run so far, and the level of the mean training pose, as curves.png."""
    names = {("train", "mpjpe_mm"): "training batches", ("val", "mpjpe_mm"): "held out"}
    rows = [
        {names.get((row["group"], name), name): value for name, value in row.items()}
        for row in read_metrics(folder.metrics)
    ]
    if rows:
        losses = loss_words(config.loss.joints, config.loss.heatmap.name)
        losses = _of_sources(losses, rows) or losses
        picture = draw_curves(rows, losses, list(names.values()), _mean_pose_level(data))
        write_png(folder.path / "curves.png", picture)


def _of_sources(losses: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Loss terms that are logged by source, with their words; none of a run on one source."""
    parts = {name: name.partition("/") for row in rows for name in row}
    return {name: f"{losses[term]}, {source}" for name, (term, _, source) in parts.items() if source and term in losses}
