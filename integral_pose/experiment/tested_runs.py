"""Runs with their predictions of a test set, made first where a folder has none of its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.config.loading import load_config_text
from integral_pose.config.schema import Config
from integral_pose.contracts import Scores
from integral_pose.errors import CheckpointError, ConfigError, DataError
from integral_pose.evaluation.predictions_csv import read_predictions_csv
from integral_pose.evaluation.scores_json import read_scores_json
from integral_pose.experiment.testing import beside, test
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.report.page_content import RunNotes
from integral_pose.runs.checkpoint import find_checkpoint
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.runs.provenance import read_starts


@dataclass(frozen=True)
class TestedRun:
    """A run with its predictions of the test set."""

    notes: RunNotes
    checkpoint: Path
    config: Config
    predicted_mm: NDArray[np.float32]  # (N, J, 3)
    scores: Scores | None  # as `test` wrote them

    @property
    def root(self) -> Path:
        """The data set's."""
        return Path(self.config.data.root)


def open_tested_run(path: Path, name: str, overrides: Sequence[str]) -> TestedRun:
    """A folder or checkpoint, called `name`; its data set as changed by `overrides`. Raises as `test`."""
    checkpoint = find_checkpoint(path)
    content = load_checkpoint(checkpoint)
    if "config" not in content:
        raise CheckpointError(f"{checkpoint}: holds no configuration, so it is no run to report on; name a run folder")
    loaded = load_config_text(content["config"], str(checkpoint), overrides)
    csv, scores_json = beside(checkpoint, "predictions.csv"), beside(checkpoint, "scores.json")
    if not _is_current(csv, scores_json, checkpoint, Path(loaded.config.data.root)):
        test(path, list(overrides))
    scores, extra = read_scores_json(scores_json) if _is_newer(scores_json, csv) else (None, {})
    mean_pose_mm = extra.get("mean_pose_mpjpe_mm")
    notes = RunNotes(
        name,
        str(checkpoint),
        content["config"],
        {key: loaded.get(key) for key in loaded.origins},
        _read_starts(checkpoint.with_name("provenance.json")),
        read_metrics(checkpoint.with_name("metrics.jsonl")),
        mean_pose_mm if isinstance(mean_pose_mm, float) else None,
    )
    return TestedRun(notes, checkpoint, loaded.config, read_predictions_csv(csv), scores)


def _is_current(csv: Path, scores_json: Path, checkpoint: Path, root: Path) -> bool:
    """Whether the predictions are of this checkpoint and data set, as far as the files say."""
    if not _is_newer(csv, checkpoint):
        return False
    if not _is_newer(scores_json, csv):  # written of a set without labels, so not of this one if it has some
        return not (root / "annot" / "valid.h5").exists()
    extra = read_scores_json(scores_json)[1]
    same_checkpoint = Path(str(extra.get("checkpoint", checkpoint))).name == checkpoint.name
    return same_checkpoint and Path(str(extra.get("data_root", root))).resolve() == root.resolve()


def _is_newer(path: Path, source: Path) -> bool:
    """Whether a file is there and was not written before what it was made of."""
    return path.exists() and path.stat().st_mtime >= source.stat().st_mtime


def _read_starts(path: Path) -> list[dict[str, Any]]:
    try:
        return read_starts(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}; restore it or move it away") from None


def check_same_test_set(runs: Sequence[TestedRun]) -> None:
    """Raise ConfigError where a run predicted another set than the first, as far as files can tell."""
    first = runs[0]
    for run in runs[1:]:
        if len(run.predicted_mm) != len(first.predicted_mm):
            raise ConfigError(
                f"{run.checkpoint.parent} predicted {len(run.predicted_mm):,} images, {first.checkpoint.parent} "
                f"{len(first.predicted_mm):,}; only runs on one test set can be compared (data.root=DIR names it)"
            )
        lists = [each.root / "annot" / "valid_images.txt" for each in (first, run)]
        if all(path.is_file() for path in lists) and lists[0].read_bytes() != lists[1].read_bytes():
            raise ConfigError(f"{lists[0]} and {lists[1]} list other images; only runs on one test set can be compared")
