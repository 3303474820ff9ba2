"""A run from its folder to its end: found, continued, trained, told how it stands."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from integral_pose.config.changes import Change, Position, find_changes, kind_of, why_forbidden
from integral_pose.config.loading import load_config_text, to_yaml
from integral_pose.config.schema import Config
from integral_pose.errors import CheckpointError, IntegralPoseError
from integral_pose.experiment.assembly import build_trainer
from integral_pose.io.devices import choose_device, explained_shortage
from integral_pose.io.distributed import Processes, processes
from integral_pose.report.canvas import write_png
from integral_pose.report.curve_figures import draw_curves
from integral_pose.runs.checkpoint import ResumePoint, load_newest
from integral_pose.runs.folder import RunFolder, read_metrics
from integral_pose.runs.status import run_status
from integral_pose.runs.stop import stop_signal


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
            found, changes = _find_start(config, folder, group, allow_change=allow_change)
            status.is_ours = found is not None  # a run that never begins leaves nothing behind
            trainer = build_trainer(config, device, group, folder, stop, status, begins=found is None)
            if found:
                trainer.resume(found, changes)
            folder.start(to_yaml(config), seed=config.seed, device=_describe(device), step=trainer.progress.step)
            status.is_ours = True
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


def _find_start(
    config: Config, folder: RunFolder, group: Processes, *, allow_change: bool
) -> tuple[ResumePoint | None, list[dict[str, Any]]]:
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


def _require_same_experiment(
    config: Config, folder: RunFolder, found: ResumePoint, *, allow_change: bool
) -> list[Change]:
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


def _tell(found: ResumePoint, changes: list[Change]) -> None:
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
