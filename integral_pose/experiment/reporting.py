"""From run folders to a report page: reads what they hold, predicts what is missing, and says what there is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.config.loading import load_config_text
from integral_pose.config.schema import Config
from integral_pose.contracts import PoseBatch, SampleKey, Scores
from integral_pose.data.course import PoseTable, read_test
from integral_pose.data.loader import PoseImages
from integral_pose.errors import CheckpointError, ConfigError, DataError
from integral_pose.evaluation.comparison import Comparison, compare, compare_scores
from integral_pose.evaluation.csv_scores import load_scoring_inputs
from integral_pose.evaluation.metrics import joint_errors_mm
from integral_pose.evaluation.predictions_csv import read_predictions_csv
from integral_pose.evaluation.scores_json import read_scores_json
from integral_pose.experiment import test
from integral_pose.experiment.illustration import HEATMAP_JOINT, illustrate_heatmaps
from integral_pose.experiment.testing import beside
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.report.page.content import HeatmapView, Report, RunNotes, Sample
from integral_pose.report.page.document import render
from integral_pose.report.page.poses import VIEW_PX
from integral_pose.runs.checkpoint import find_checkpoint
from integral_pose.runs.metrics import read_metrics
from integral_pose.runs.provenance import read_starts
from integral_pose.skeleton import HUMAN36M
from integral_pose.weights.loading import load_network

MOST_RUNS = 5  # as many as there are colours, and as fit a page of 8 MB
NUM_SHOWN = 24  # of the worst images, and again of random ones
NUM_HEATMAPS = 6  # images; fewer of many runs, so that there are no more than
MOST_HEATMAP_PICTURES = 20
OVERRIDES = ("data.root", "data.workers", "trainer.device")  # what does not change what is predicted


@dataclass(frozen=True)
class TestedRun:
    """A run with its predictions of the test set."""

    notes: RunNotes
    checkpoint: Path
    config: Config
    predicted_mm: NDArray[np.float32]  # (N, J, 3)
    scores: Scores | None  # as `test` wrote them


@dataclass
class TestSet:
    """What there is of the test set that the runs predicted."""

    table: PoseTable | None = None  # None: the pictures or their list cannot be read
    true_mm: NDArray[Any] | None = None  # (N, J, 3) root-relative
    names: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def write_report(paths: Sequence[Path], overrides: Sequence[str], out: Path | None) -> Path:
    """Write one HTML file about some runs, each a folder or checkpoint; returns its path.

    Predictions are made first where there are none of the checkpoint. Raises ConfigError for runs that cannot be
    compared, and as `experiment.test`.
    """
    _check_request(paths, overrides, out)
    names = _short_names(paths)
    runs = [_open_run(path, name, overrides) for path, name in zip(paths, names, strict=True)]
    _check_same_set(runs)
    out = out or runs[0].checkpoint.parent / "report.html"
    write_text_atomic(out, render(_gather(runs)))
    return out


def _check_request(paths: Sequence[Path], overrides: Sequence[str], out: Path | None) -> None:
    unknown = [text for text in overrides if text.partition("=")[0] not in OVERRIDES]
    if unknown:
        raise ConfigError(
            f"'{unknown[0]}' would change what is predicted, and a report shows what predictions.csv holds; give it to "
            f"'integral-pose test RUN {unknown[0]}' first. Here go: {', '.join(OVERRIDES)}"
        )
    if len(paths) > MOST_RUNS:
        raise ConfigError(f"a report compares up to {MOST_RUNS} runs, found {len(paths)}; write several")
    folders = [find_checkpoint(path).parent.resolve() for path in paths]
    doubled = next((folder for folder in folders if folders.count(folder) > 1), None)
    if doubled:
        raise ConfigError(f"{doubled}: is named twice, or two checkpoints lie here that share one predictions.csv")
    if out is not None and out.is_dir():
        raise ConfigError(f"--out {out}: is a folder; expected the name of a file, for example {out / 'report.html'}")


def _short_names(paths: Sequence[Path]) -> list[str]:
    """The folders' names; whole paths where two have the same."""
    folders = [find_checkpoint(path).parent for path in paths]
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _open_run(path: Path, name: str, overrides: Sequence[str]) -> TestedRun:
    checkpoint = find_checkpoint(path)
    content = load_checkpoint(checkpoint)
    if "config" not in content:
        raise CheckpointError(f"{checkpoint}: holds no configuration, so it is no run to report on; name a run folder")
    loaded = load_config_text(content["config"], str(checkpoint), overrides)
    folder = checkpoint.parent
    csv, scores_json = beside(checkpoint, "predictions.csv"), beside(checkpoint, "scores.json")
    if not _is_current(csv, scores_json, checkpoint, loaded.config):
        test(path, list(overrides))
    predicted_mm = read_predictions_csv(csv)
    scores, told = read_scores_json(scores_json) if _are_of(scores_json, csv) else (None, {})
    mean_pose_mm = told.get("mean_pose_mpjpe_mm")
    notes = RunNotes(
        name,
        str(checkpoint),
        content["config"],
        {key: loaded.get(key) for key in loaded.origins},
        _read_starts(folder / "provenance.json"),
        read_metrics(folder / "metrics.jsonl"),
        mean_pose_mm if isinstance(mean_pose_mm, float) else None,
    )
    return TestedRun(notes, checkpoint, loaded.config, predicted_mm, scores)


def _is_current(csv: Path, scores_json: Path, checkpoint: Path, config: Config) -> bool:
    """Whether the predictions are of this checkpoint and data set, as far as the files say."""
    if not csv.exists() or csv.stat().st_mtime < checkpoint.stat().st_mtime:
        return False
    root = Path(config.data.root)
    if not _are_of(scores_json, csv):  # written of a set without labels, so not of this one if it has some
        return not (root / "annot" / "valid.h5").exists()
    told = read_scores_json(scores_json)[1]
    same_checkpoint = Path(str(told.get("checkpoint", checkpoint))).name == checkpoint.name
    return same_checkpoint and Path(str(told.get("data_root", root))).resolve() == root.resolve()


def _are_of(scores_json: Path, csv: Path) -> bool:
    """Whether `test` wrote these scores after the predictions, and not of older ones."""
    return scores_json.exists() and scores_json.stat().st_mtime >= csv.stat().st_mtime


def _read_starts(path: Path) -> list[dict[str, Any]]:
    try:
        return read_starts(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}; restore it or move it away") from None


def _check_same_set(runs: Sequence[TestedRun]) -> None:
    """Raise ConfigError where a run predicted another set than the first, as far as files can tell."""
    first = runs[0]
    for run in runs[1:]:
        if len(run.predicted_mm) != len(first.predicted_mm):
            raise ConfigError(
                f"{run.checkpoint.parent} predicted {len(run.predicted_mm):,} images, {first.checkpoint.parent} "
                f"{len(first.predicted_mm):,}; only runs on one test set can be compared (data.root=DIR names it)"
            )
        lists = [Path(each.config.data.root) / "annot" / "valid_images.txt" for each in (first, run)]
        if all(path.is_file() for path in lists) and lists[0].read_bytes() != lists[1].read_bytes():
            raise ConfigError(f"{lists[0]} and {lists[1]} list other images; only runs on one test set can be compared")


def _gather(runs: Sequence[TestedRun]) -> Report:
    first = runs[0]
    found = _read_test_set(first)
    predicted_mm = [run.predicted_mm for run in runs]
    comparison = _compare(runs, found)
    if comparison and comparison.frame_errors_mm:
        order = np.argsort(-comparison.frame_errors_mm[0], kind="stable")
    else:
        order = np.arange(0)
    worst = order[:NUM_SHOWN]
    others = np.setdiff1d(np.arange(len(first.predicted_mm)), worst)
    random = np.sort(np.random.default_rng(0).permutation(others)[:NUM_SHOWN])
    rows = [*worst.tolist(), *random.tolist()]
    shown = [_sample(row, predicted_mm, found, first.config) for row in rows]
    pictured = [row for row, sample in zip(rows, shown, strict=True) if sample.picture is not None]
    return Report(
        runs=[run.notes for run in runs],
        num_images=len(first.predicted_mm),
        comparison=comparison,
        worst=shown[: len(worst)],
        random=shown[len(worst) :],
        heatmaps=_heatmaps(runs, found, pictured[: min(NUM_HEATMAPS, MOST_HEATMAP_PICTURES // len(runs))]),
        remarks=found.remarks,
    )


def _read_test_set(run: TestedRun) -> TestSet:
    """Pictures and labels; labels alone where the pictures cannot be read; and in words what there is not."""
    root, number = Path(run.config.data.root), len(run.predicted_mm)
    truth = root / "annot" / "valid.h5"
    try:
        table = read_test(root, joint_order=run.config.data.joint_order)
    except DataError as error:
        found = TestSet(remarks=[f"No pictures and heat maps: {error}"])
        if truth.is_file():
            csv, order = run.checkpoint.parent / "predictions.csv", run.config.data.joint_order
            _, found.true_mm, found.names = load_scoring_inputs(csv, truth, joint_order=order)
    else:
        if len(table) != number:
            raise DataError(
                f"{root} lists {len(table):,} test images, {run.checkpoint.parent / 'predictions.csv'} has {number:,} "
                "rows; predict this set with: integral-pose test"
            )
        found = TestSet(table, table.joints_camera_mm if table.has_labels else None)
        found.names = [table.name(row) for row in range(number)]
    if found.true_mm is None:
        found.remarks.append(f"There are no labels at {truth}: errors of single images and differences are left out.")
    return found


def _compare(runs: Sequence[TestedRun], found: TestSet) -> Comparison | None:
    """From the labels where there are any, else from what `test` wrote when there were."""
    if found.true_mm is not None:
        return compare([run.predicted_mm for run in runs], found.true_mm, found.names)
    scores = [run.scores for run in runs if run.scores is not None]
    return compare_scores(scores) if len(scores) == len(runs) else None


def _sample(row: int, predicted_mm: Sequence[NDArray[np.float32]], found: TestSet, config: Config) -> Sample:
    picture, true_px = None, None
    if found.table is not None:
        batch = _read_images(found, [row], config, (VIEW_PX, VIEW_PX))
        if batch is not None:
            picture = batch.images[0].permute(1, 2, 0).contiguous().numpy()
            true_px = batch.joints_crop_px[0].numpy() if found.true_mm is not None else None
    poses = [run[row] for run in predicted_mm]
    true_mm = None if found.true_mm is None else found.true_mm[row] - found.true_mm[row, HUMAN36M.root]
    errors_mm = [] if true_mm is None else [float(joint_errors_mm(pose[None], true_mm[None]).mean()) for pose in poses]
    name = found.names[row] if found.names else f"row {row + 1}"
    return Sample(name, poses, true_mm, picture, true_px, errors_mm)


def _read_images(found: TestSet, rows: Sequence[int], config: Config, size: Sequence[int]) -> PoseBatch | None:
    """Some images at `size` (height, width) px; None, and a remark, where one cannot be read."""
    assert found.table is not None, "asked for where there is a table"
    images = PoseImages(found.table, config.data.stored_size, size, augmentation=None)
    batch = images.__getitems__([SampleKey(0, row) for row in rows])
    if isinstance(batch, PoseBatch):
        return batch
    found.remarks.append(f"A picture is left out: {batch}")
    return None


def _heatmaps(runs: Sequence[TestedRun], found: TestSet, rows: Sequence[int]) -> list[HeatmapView]:
    """Of some images, the marginals of the joint that the first run misses by most, as each run's network has them."""
    if not rows or found.table is None:
        return []
    joints = [HUMAN36M.names.index(HEATMAP_JOINT)] * len(rows)
    if found.true_mm is not None:
        joints = joint_errors_mm(runs[0].predicted_mm[rows], found.true_mm[rows]).argmax(1).tolist()
    pictures: list[dict[str, Any]] = [{} for _ in rows]
    for run in runs:
        network = load_network(run.checkpoint).network
        batch = _read_images(found, rows, run.config, run.config.data.image_size)
        drawn = illustrate_heatmaps(network, batch, joints) if batch is not None else []
        if batch is not None and not drawn:
            found.remarks.append(f"{run.notes.name} predicts joints without heat maps, so none of its are shown.")
        for views, picture in zip(pictures, drawn, strict=False):
            views[run.notes.name] = picture
    return [
        HeatmapView(found.names[row], HUMAN36M.names[joint], views)
        for row, joint, views in zip(rows, joints, pictures, strict=True)
        if views
    ]
