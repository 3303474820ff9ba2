"""From run folders to a report page; what cannot be read is left out and named there."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.config.schema import Config
from integral_pose.contracts import PoseBatch, SampleKey, Scores
from integral_pose.data.course import PoseTable, read_test
from integral_pose.data.loader import PoseImages
from integral_pose.errors import ConfigError, DataError
from integral_pose.evaluation.comparison import Comparison, compare, compare_scores
from integral_pose.evaluation.csv_scores import load_scoring_inputs
from integral_pose.evaluation.metrics import joint_errors_mm
from integral_pose.experiment.sample_figures import draw_heatmaps, heatmap_joint
from integral_pose.experiment.tested_run import TestedRun, check_same_test_set, open_tested_run
from integral_pose.geometry.labelled_means import labelled_mean
from integral_pose.io.atomic import write_text_atomic
from integral_pose.report.page import render
from integral_pose.report.page_content import HeatmapMarginals, PageContent, ShownImage
from integral_pose.report.pose_svg import VIEW_PX
from integral_pose.runs.checkpoint import find_checkpoint
from integral_pose.skeleton import Skeleton
from integral_pose.weights.stored_network import load_network

MOST_RUNS = 5  # as many as there are colours, and as fit a page of 8 MB
NUM_SHOWN = 24  # of the worst images, and again of random ones
NUM_HEATMAPS = 6  # images; fewer of many runs, so that there are no more than
MOST_HEATMAP_PICTURES = 20
OVERRIDES = ("data.root", "data.workers", "trainer.device")  # what does not change what is predicted


@dataclass
class TestSet:
    """What there is of the test set that the runs predicted."""

    skeleton: Skeleton
    table: PoseTable | None = None  # None: the pictures or their list cannot be read
    true_mm: NDArray[Any] | None = None  # (N, J, 3) root-relative
    names: list[str] = field(default_factory=list)
    sequences: NDArray[np.str_] | None = None  # (N,) the recordings, where the set says them
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
    check_same_test_set(runs)
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
        skeleton=runs[0].skeleton,
    )


def _read_test_set(run: TestedRun) -> TestSet:
    """Pictures and labels; labels alone where the pictures cannot be read; and in words what there is not."""
    truth, csv = run.root / "annot" / "valid.h5", run.predictions_csv
    try:
        table = read_test(run.root, run.config.data.joint_order, run.config.data.label_axes)
    except DataError as error:
        test_set = TestSet(skeleton=run.skeleton, remarks=[f"No pictures and heat maps: {error}"])
        if truth.is_file():
            order = run.config.data.joint_order
            inputs = load_scoring_inputs(csv, truth, joint_order=order, some_joints=True)
            test_set.true_mm, test_set.names, test_set.sequences = inputs.true_mm, inputs.names, inputs.sequences
    else:
        if len(table) != len(run.predicted_mm):
            raise DataError(
                f"{run.root} lists {len(table):,} test images, {csv} has {len(run.predicted_mm):,} "
                "rows; predict this set with: integral-pose test"
            )
        table = table.of_joints(run.skeleton)
        names = [table.name(row) for row in range(len(table))]
        true_mm = table.joints_camera_mm if table.has_labels else None
        test_set = TestSet(run.skeleton, table, true_mm, names, table.sequences)
    if test_set.true_mm is None:
        missing = f"There are no labels at {truth}: errors of single images and differences are left out."
        test_set.remarks.append(missing)
    return test_set


def _compare(runs: Sequence[TestedRun], test_set: TestSet) -> Comparison | None:
    """From the labels where there are any, else from what `test` wrote when there were."""
    if test_set.true_mm is not None:
        poses_mm = [run.predicted_mm for run in runs]
        found = compare(poses_mm, test_set.true_mm, test_set.names, test_set.skeleton, test_set.sequences)
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
        root = test_set.skeleton.root
        true_mm = test_set.true_mm[row] - test_set.true_mm[row, root]
        of_joints_mm = [joint_errors_mm(pose[None], true_mm[None], root=root) for pose in image.predicted_mm]
        errors_mm = [float(labelled_mean(errors)) for errors in of_joints_mm]
        image = replace(image, true_mm=true_mm, errors_mm=errors_mm)
    batch = _read_images(test_set, [row], runs[0].config, (VIEW_PX, VIEW_PX))
    if batch is None:
        return image
    true_px = batch.joints_crop_px[0].numpy()
    picture = batch.images[0].permute(1, 2, 0).contiguous().numpy()
    return replace(image, picture=picture, true_picture_px=true_px if np.isfinite(true_px).any() else None)


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
    skeleton = test_set.skeleton
    joints = [heatmap_joint(skeleton)] * len(rows)
    if test_set.true_mm is not None:
        errors_mm = joint_errors_mm(runs[0].predicted_mm[rows], test_set.true_mm[rows], root=skeleton.root)
        joints = np.nan_to_num(errors_mm).argmax(1).tolist()
    names = [skeleton.names[joint] for joint in joints]
    pictures: list[dict[str, Any]] = [{} for _ in rows]
    for run in runs:
        batch = _read_images(test_set, rows, run.config, run.config.data.image_size)
        if batch is None:
            continue
        loaded = load_network(run.checkpoint)
        images = [test_set.names[row] for row in rows]
        drawn = draw_heatmaps(loaded.network, loaded.description.skeleton, batch, skeleton, joints, images)
        if not drawn:
            test_set.remarks.append(f"{run.notes.name} predicts joints without heat maps, so none of its are shown.")
        for views, picture in zip(pictures, drawn, strict=False):
            views[run.notes.name] = picture
    return [
        HeatmapMarginals(test_set.names[row], name, views)
        for row, name, views in zip(rows, names, pictures, strict=True)
        if views
    ]
