"""One run of a benchmark in a process of its own: train, predict, and a JSON of errors by joint and sequence.

    python -m benchmarks.one_run RESULT.json test|held-out CONFIG key=value ...

Started again it continues the training where it stopped.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from integral_pose.config.loading import load_config
from integral_pose.config.schema import Config
from integral_pose.data.course import PoseTable, read_test, read_train, split_by_subject
from integral_pose.evaluation.metrics import axis_errors_mm, joint_errors_mm
from integral_pose.evaluation.scores import sequence_names
from integral_pose.experiment import train
from integral_pose.experiment.assembly import read_training_data
from integral_pose.experiment.model import build_model
from integral_pose.experiment.scoring import build_scorer
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.io.devices import choose_device
from integral_pose.io.distributed import Processes
from integral_pose.io.frame_names import parse_frame_name
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.skeleton import HUMAN36M
from integral_pose.weights.stored_network import load_network

CURVE_IMAGES = 960


def main(arguments: Sequence[str]) -> None:
    """Train and score, or continue; the result is written last, so that where it is all is done."""
    result, scored_on, path, *overrides = arguments
    config = load_config(path, overrides).config
    start = time.process_time()
    folder = train(config)
    seconds = time.process_time() - start
    scores = score_run(folder, config, read_scored(config, scored_on))
    write_text_atomic(result, json.dumps({**scores, "process_s": seconds}, indent=1) + "\n")


def read_scored(config: Config, scored_on: str) -> PoseTable:
    """The labelled images that count: 'test', or 'held-out' for those that training left out."""
    root = Path(config.data.root)
    if scored_on == "test":
        return read_test(root, joint_order=config.data.joint_order)
    return split_by_subject(read_train(root, joint_order=config.data.joint_order), config.data.val_subjects)[1]


def score_run(folder: Path, config: Config, table: PoseTable) -> dict[str, Any]:
    """The errors of a run's network on a table, and what the run was."""
    device = choose_device(config.trainer.device)
    loaded = load_network(folder)
    predictions = build_scorer(config, table, device, Processes())(
        loaded.network.to(device).to(memory_format=torch.channels_last)
    )
    untrained = _untrained_mpjpe_mm(config, table)
    starts = json.loads((folder / "provenance.json").read_text("utf-8"))
    steps = load_checkpoint(folder / "last.pt")["progress"]["step"]
    return {
        **summarise_errors(predictions.joints_camera_mm, table),
        "untrained_mpjpe_mm": untrained,
        "curve": _curve(folder, config),
        "seed": config.seed,
        "images": steps * config.trainer.batch_size,
        "starts": len(starts),
        "commits": sorted({f"{row['git_commit']}{'+' if row['git_changes'] else ''}" for row in starts}),
        "torch": starts[-1]["packages"]["torch"],
        "device": starts[-1]["device"],
    }


def _untrained_mpjpe_mm(config: Config, table: PoseTable) -> float:
    """The error of the same network before its first step."""
    device, data = choose_device(config.trainer.device), read_training_data(config)
    torch.manual_seed(config.seed)
    model, _ = build_model(config, device, data.train.skeleton, data.statistics, data.prior)
    predicted_mm = build_scorer(config, table, device, Processes())(model.eval()).joints_camera_mm
    return float(joint_errors_mm(predicted_mm, table.joints_camera_mm, "mpjpe", root=table.skeleton.root).mean())


def _curve(folder: Path, config: Config) -> list[tuple[int, float]]:
    """(images seen, MPJPE in mm of the batches logged since the row before), a row for each CURVE_IMAGES."""
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["group"] == "train"]
    images = np.array([row["step"] * config.trainer.batch_size for row in rows])
    errors_mm = np.array([row["mpjpe_mm"] for row in rows])
    part = (images - 1) // CURVE_IMAGES
    return [
        (int(images[part == number].max()), round(float(errors_mm[part == number].mean()), 2))
        for number in np.unique(part)
    ]


def summarise_errors(predicted_mm: NDArray[Any], table: PoseTable) -> dict[str, Any]:
    """MPJPE and PA-MPJPE over all, a joint, an axis, and a sequence: {sequence: [frames, MPJPE, PA-MPJPE]}; mm."""
    rows = np.arange(len(table))
    frames = sequence_names([parse_frame_name(table.name(row)) for row in range(len(table))], table.sequences, rows)
    mpjpe, pa_mpjpe = (
        joint_errors_mm(predicted_mm, table.joints_camera_mm, name, root=HUMAN36M.root)
        for name in ("mpjpe", "pa_mpjpe")
    )
    axes_mm = axis_errors_mm(predicted_mm, table.joints_camera_mm, HUMAN36M.root).mean((0, 1))
    names, group = np.unique(frames, return_inverse=True)
    counts = np.bincount(group)
    by_sequence = [np.bincount(group, weights=values.mean(1)) / counts for values in (mpjpe, pa_mpjpe)]
    return {
        "mpjpe_mm": float(mpjpe.mean()),
        "pa_mpjpe_mm": float(pa_mpjpe.mean()),
        "per_joint_mm": dict(zip(HUMAN36M.names, mpjpe.mean(0).round(4).tolist(), strict=True)),
        "per_axis_mm": dict(zip("xyz", axes_mm.round(4).tolist(), strict=True)),
        "sequences": {
            str(name): [int(count), round(float(one), 4), round(float(other), 4)]
            for name, count, one, other in zip(names, counts, *by_sequence, strict=True)
        },
    }


if __name__ == "__main__":
    main(sys.argv[1:])
