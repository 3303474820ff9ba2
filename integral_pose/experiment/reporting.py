"""From run folders to a report page; what cannot be read is left out and named there."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
from integral_pose.experiment.prediction_record import is_of_checkpoint, is_of_data, read_record
from integral_pose.experiment.result_files import ResultFiles, result_files
from integral_pose.experiment.sample_figures import HEATMAP_JOINT, draw_heatmaps
from integral_pose.experiment.testing import test
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.report.page import render
from integral_pose.report.page_content import HeatmapMarginals, PageContent, RunNotes, ShownImage
from integral_pose.report.pose_svg import VIEW_PX
from integral_pose.runs.checkpoint import find_checkpoint
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.runs.provenance import read_starts
from integral_pose.skeleton import HUMAN36M
from integral_pose.weights.stored_network import load_network

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
    predictions_csv: Path
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
    own = load_config_text(content["config"], str(checkpoint), []).config
    files = _find_results(checkpoint, Path(own.data.root), loaded.config)
    csv, scores_json = files.path("predictions.csv"), files.path("scores.json")
    if not _is_current(files, checkpoint, loaded.config):
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
    return TestedRun(notes, checkpoint, loaded.config, csv, read_predictions_csv(csv), scores)


def _find_results(checkpoint: Path, own_root: Path, config: Config) -> ResultFiles:
    """Those of the data set of `config`; the run's own where they say that they are of it, as where it has moved."""
    root = Path(config.data.root)
    own = result_files(checkpoint, root, root)
    has_said = own.path("predictions.json").exists() or own.path("scores.json").exists()
    return own if has_said and _is_current(own, checkpoint, config) else result_files(checkpoint, own_root, root)


def _is_current(files: ResultFiles, checkpoint: Path, config: Config) -> bool:
    """Whether the predictions are of this checkpoint and data set: by what `test` recorded, else by time stamps."""
    root, record = Path(config.data.root), read_record(files.path("predictions.json"))
    csv, scores_json = files.path("predictions.csv"), files.path("scores.json")
    if record is None or not csv.exists():
        return _looks_current(csv, scores_json, checkpoint, root)
    if not is_of_checkpoint(record, checkpoint):
        return False
    try:
        return is_of_data(record, read_test(root, joint_order=config.data.joint_order))
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


def _check_same_test_set(runs: Sequence[TestedRun]) -> None:
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


@dataclass
class TestSet:
    """What there is of the test set that the runs predicted."""

    table: PoseTable | None = None  # None: the pictures or their list cannot be read
    true_mm: NDArray[Any] | None = None  # (N, J, 3) root-relative
    names: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def write_report(paths: Sequence[Path], overrides: Sequence[str], out: Path | None) -> Path:
    """Write one HTML file about some runs, each a folder or checkpoint, as `out` or into it; returns its path.

    Predictions are made first where there are none of the checkpoint. Raises ConfigError for runs that cannot be
    compared, and as `experiment.test`.
    """
    folders = [find_checkpoint(path).parent for path in paths]
    _check_request(folders, overrides)
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs = [open_tested_run(path, name, overrides) for path, name in zip(paths, names, strict=True)]
    _check_same_test_set(runs)
    page = out or runs[0].checkpoint.parent
    if not page.suffix or page.is_dir():
        page = page / "report.html"
    write_text_atomic(page, render(_gather(runs)))
    return page


def _check_request(folders: Sequence[Path], overrides: Sequence[str]) -> None:
    unknown = [text for text in overrides if text.partition("=")[0] not in OVERRIDES]
    if unknown:
        raise ConfigError(
            f"'{unknown[0]}' would change what is predicted, and a report shows what predictions.csv holds; give it to "
            f"'integral-pose test RUN {unknown[0]}' first. Here go: {', '.join(OVERRIDES)}"
        )
    if len(folders) > MOST_RUNS:
        raise ConfigError(f"a report compares up to {MOST_RUNS} runs, found {len(folders)}; write several")
    resolved = [folder.resolve() for folder in folders]
    doubled = next((folder for folder in resolved if resolved.count(folder) > 1), None)
    if doubled:
        raise ConfigError(f"{doubled}: is named twice, or two checkpoints lie here that share one predictions.csv")


def _gather(runs: Sequence[TestedRun]) -> PageContent:
    test_set = _read_test_set(runs[0])
    comparison = _compare(runs, test_set)
    worst = np.arange(0)
    if comparison and comparison.frame_errors_mm:
        worst = np.argsort(-comparison.frame_errors_mm[0], kind="stable")[:NUM_SHOWN]
    others = np.setdiff1d(np.arange(len(runs[0].predicted_mm)), worst)
    random = np.sort(np.random.default_rng(0).permutation(others)[:NUM_SHOWN])
    rows = [*worst.tolist(), *random.tolist()]
    shown = [_shown_image(row, runs, test_set) for row in rows]
    pictured = [row for row, image in zip(rows, shown, strict=True) if image.picture is not None]
    return PageContent(
        runs=[run.notes for run in runs],
        num_images=len(runs[0].predicted_mm),
        comparison=comparison,
        worst=shown[: len(worst)],
        random=shown[len(worst) :],
        heatmaps=_heatmaps(runs, test_set, pictured[: min(NUM_HEATMAPS, MOST_HEATMAP_PICTURES // len(runs))]),
        remarks=test_set.remarks,
    )


def _read_test_set(run: TestedRun) -> TestSet:
    """Pictures and labels; labels alone where the pictures cannot be read; and in words what there is not."""
    truth, csv = run.root / "annot" / "valid.h5", run.predictions_csv
    try:
        table = read_test(run.root, joint_order=run.config.data.joint_order)
    except DataError as error:
        test_set = TestSet(remarks=[f"No pictures and heat maps: {error}"])
        if truth.is_file():
            order = run.config.data.joint_order
            _, test_set.true_mm, test_set.names = load_scoring_inputs(csv, truth, joint_order=order)
    else:
        if len(table) != len(run.predicted_mm):
            raise DataError(
                f"{run.root} lists {len(table):,} test images, {csv} has {len(run.predicted_mm):,} "
                "rows; predict this set with: integral-pose test"
            )
        names = [table.name(row) for row in range(len(table))]
        test_set = TestSet(table, table.joints_camera_mm if table.has_labels else None, names)
    if test_set.true_mm is None:
        missing = f"There are no labels at {truth}: errors of single images and differences are left out."
        test_set.remarks.append(missing)
    return test_set


def _compare(runs: Sequence[TestedRun], test_set: TestSet) -> Comparison | None:
    """From the labels where there are any, else from what `test` wrote when there were."""
    if test_set.true_mm is not None:
        found = compare([run.predicted_mm for run in runs], test_set.true_mm, test_set.names)
        return replace(found, scores=[_with_calibration(*pair) for pair in zip(found.scores, runs, strict=True)])
    scores = [run.scores for run in runs if run.scores is not None]
    return compare_scores(scores) if len(scores) == len(runs) else None


def _with_calibration(scores: Scores, run: TestedRun) -> Scores:
    """With the metrics that `test` alone can know, since predictions.csv holds no standard deviations."""
    return scores if run.scores is None else replace(scores, metrics={**run.scores.metrics, **scores.metrics})


def _shown_image(row: int, runs: Sequence[TestedRun], test_set: TestSet) -> ShownImage:
    name = test_set.names[row] if test_set.names else f"row {row + 1}"
    image = ShownImage(name, [run.predicted_mm[row] for run in runs])
    if test_set.true_mm is not None:
        true_mm = test_set.true_mm[row] - test_set.true_mm[row, HUMAN36M.root]
        errors_mm = [float(joint_errors_mm(pose[None], true_mm[None]).mean()) for pose in image.predicted_mm]
        image = replace(image, true_mm=true_mm, errors_mm=errors_mm)
    batch = _read_images(test_set, [row], runs[0].config, (VIEW_PX, VIEW_PX))
    if batch is None:
        return image
    true_px = None if test_set.true_mm is None else batch.joints_crop_px[0].numpy()
    picture = batch.images[0].permute(1, 2, 0).contiguous().numpy()
    return replace(image, picture=picture, true_picture_px=true_px)


def _read_images(test_set: TestSet, rows: Sequence[int], config: Config, size: Sequence[int]) -> PoseBatch | None:
    """Some images at `size` (height, width) px; None where there are none, or, with a remark, one cannot be read."""
    if test_set.table is None:
        return None
    images = PoseImages(test_set.table, config.data.stored_size, size, augmentation=None)
    batch = images.__getitems__([SampleKey(0, row) for row in rows])
    if isinstance(batch, PoseBatch):
        return batch
    test_set.remarks.append(f"A picture is left out: {batch}")
    return None


def _heatmaps(runs: Sequence[TestedRun], test_set: TestSet, rows: Sequence[int]) -> list[HeatmapMarginals]:
    """Of some images, the marginals of the joint with the largest error of the first run, of each run's network."""
    if not rows:
        return []
    joints = [HUMAN36M.names.index(HEATMAP_JOINT)] * len(rows)
    if test_set.true_mm is not None:
        joints = joint_errors_mm(runs[0].predicted_mm[rows], test_set.true_mm[rows]).argmax(1).tolist()
    pictures: list[dict[str, Any]] = [{} for _ in rows]
    for run in runs:
        batch = _read_images(test_set, rows, run.config, run.config.data.image_size)
        if batch is None:
            continue
        drawn = draw_heatmaps(load_network(run.checkpoint).network, batch, joints)
        if not drawn:
            test_set.remarks.append(f"{run.notes.name} predicts joints without heat maps, so none of its are shown.")
        for views, picture in zip(pictures, drawn, strict=False):
            views[run.notes.name] = picture
    return [
        HeatmapMarginals(test_set.names[row], HUMAN36M.names[joint], views)
        for row, joint, views in zip(rows, joints, pictures, strict=True)
        if views
    ]
