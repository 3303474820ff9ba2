"""A run with its predictions of a test set, which are made where there are none of its checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from integral_pose.config.loading import load_config_text
from integral_pose.config.schema import Config
from integral_pose.contracts import Scores
from integral_pose.data.course import read_test
from integral_pose.errors import CheckpointError, ConfigError, DataError
from integral_pose.evaluation.predictions_csv import predicted_joints, read_predictions_csv
from integral_pose.evaluation.scores_json import read_scores_json
from integral_pose.experiment.prediction_record import is_of_checkpoint, is_of_data, read_record
from integral_pose.experiment.result_files import ResultFiles, result_files
from integral_pose.experiment.testing import test
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.io.skeleton_file import read_skeleton
from integral_pose.report.page_content import RunNotes
from integral_pose.runs.checkpoint import find_checkpoint
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.runs.provenance import read_starts
from integral_pose.skeleton import Skeleton
from integral_pose.weights.stored_network import read_network


@dataclass(frozen=True)
class TestedRun:
    """A run with its predictions of the test set."""

    notes: RunNotes
    checkpoint: Path
    config: Config
    predictions_csv: Path
    predicted_mm: NDArray[np.float32]  # (N, J, 3)
    skeleton: Skeleton  # of the J joints
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
    own = load_config_text(content["config"], str(checkpoint), []).config
    files, is_current = _find_results(checkpoint, Path(own.data.root), loaded.config)
    csv, scores_json = files.path("predictions.csv"), files.path("scores.json")
    if not is_current:
        test(path, list(overrides))
    record = read_record(files.path("predictions.json"))
    is_scored = scores_json.exists() if record and record.get("is_scored") else _is_newer(scores_json, csv)
    scores, extra = read_scores_json(scores_json) if is_scored else (None, {})
    mean_pose_mm = extra.get("mean_pose_mpjpe_mm")
    notes = RunNotes(
        name,
        str(checkpoint),
        content["config"],
        {key: loaded.get(key) for key in loaded.origins},
        read_starts(checkpoint.with_name("provenance.json")),
        read_metrics(checkpoint.with_name("metrics.jsonl")),
        mean_pose_mm if isinstance(mean_pose_mm, float) else None,
    )
    annot = Path(loaded.config.data.root) / "annot"
    of_data = read_skeleton(annot) if annot.is_dir() else read_network(checkpoint).description.skeleton
    skeleton = predicted_joints(csv, of_data)
    return TestedRun(notes, checkpoint, loaded.config, csv, read_predictions_csv(csv, skeleton), skeleton, scores)


def _find_results(checkpoint: Path, own_root: Path, config: Config) -> tuple[ResultFiles, bool]:
    """Those of the data set of `config`, and whether they are of this checkpoint and set.

    They are the run's own where these say that they are of it, as where it has moved.
    """
    root = Path(config.data.root)
    own = result_files(checkpoint, root, root)
    has_said = own.path("predictions.json").exists() or own.path("scores.json").exists()
    if has_said and _is_current(own, checkpoint, config):
        return own, True
    files = result_files(checkpoint, own_root, root)
    return files, (files != own or not has_said) and _is_current(files, checkpoint, config)


def _is_current(files: ResultFiles, checkpoint: Path, config: Config) -> bool:
    """Whether the predictions are of this checkpoint and data set: by what `test` recorded, else by time stamps."""
    root, record = Path(config.data.root), read_record(files.path("predictions.json"))
    csv, scores_json = files.path("predictions.csv"), files.path("scores.json")
    if record is None or not csv.exists():
        return _looks_current(csv, scores_json, checkpoint, root)
    if not is_of_checkpoint(record, checkpoint):
        return False
    try:
        table = read_test(root, config.data.joint_order, config.data.label_axes)
        return is_of_data(record, table.of_joints(predicted_joints(csv, table.skeleton)))
    except DataError:  # what there is of the data cannot tell
        return _looks_current(csv, scores_json, checkpoint, root)


def _looks_current(csv: Path, scores_json: Path, checkpoint: Path, root: Path) -> bool:
    """As far as time stamps and scores.json say."""
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


def check_same_test_set(runs: Sequence[TestedRun]) -> None:
    """Raise ConfigError where a run predicted another set than the first, as far as files can tell."""
    first = runs[0]
    for run in runs[1:]:
        if len(run.predicted_mm) != len(first.predicted_mm):
            raise ConfigError(
                f"{run.checkpoint.parent} predicted {len(run.predicted_mm):,} images, {first.checkpoint.parent} "
                f"{len(first.predicted_mm):,}; only runs on one test set can be compared (data.root=DIR names it)"
            )
        if run.skeleton.names != first.skeleton.names:
            raise ConfigError(
                f"{run.checkpoint.parent} predicted the joints {', '.join(run.skeleton.names)}, "
                f"{first.checkpoint.parent} {', '.join(first.skeleton.names)}; only runs on the same can be compared"
            )
        lists = [each.root / "annot" / "valid_images.txt" for each in (first, run)]
        if all(path.is_file() for path in lists) and lists[0].read_bytes() != lists[1].read_bytes():
            raise ConfigError(f"{lists[0]} and {lists[1]} list other images; only runs on one test set can be compared")
