"""`integral-pose test | score | report`: predictions, their errors, and a page about them."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from integral_pose.cli.arguments import OVERRIDE_HELP, add_command, file_path, require_other_file, split_overrides
from integral_pose.contracts import Scores
from integral_pose.errors import ConfigError

if TYPE_CHECKING:
    from integral_pose.evaluation.protocols import Protocol
    from integral_pose.experiment import TestResult

NO_LABELS = "The test set has no labels (annot/valid.h5), so there is no score."


def add_test(commands: Any) -> None:
    """Predictions of one run or several on the test set."""
    text = "predict the test set, write predictions.csv, score it if it has labels"
    parser = add_command(commands, "test", text, _test, more="targets")
    parser.add_argument("targets", nargs="*", metavar="RUN_FOLDER_OR_CHECKPOINT | key=value",
                        help=f"default: the newest run; several are compared. {OVERRIDE_HELP}")  # fmt: skip
    parser.add_argument("--out", type=file_path, metavar="DIR", help="folder for the results (beside the checkpoint)")
    parser.add_argument("--root-depth", metavar="labels|bone_length|MM",
                        help="image volume: how far away people are, the same as evaluation.root_depth=..")  # fmt: skip


def add_score(commands: Any) -> None:
    """Errors of a CSV file of predictions."""
    parser = add_command(commands, "score", "score a CSV of predictions (needs NumPy and h5py alone)", _score)
    parser.add_argument("predictions", type=file_path, metavar="predictions.csv")
    parser.add_argument(
        "--truth", type=file_path, required=True, metavar="H5", help="labels, for example annot/valid.h5"
    )
    parser.add_argument("--protocol", default="all", metavar="NAME", help="see docs/metrics.md (%(default)s)")
    parser.add_argument(
        "--against", type=file_path, metavar="CSV", help="other predictions: the difference, frame by frame"
    )
    parser.add_argument("--joint-order", choices=("auto", "official", "c2f"), default="auto",
                        help="of the labels, as data.joint_order (%(default)s: by the poses)")  # fmt: skip
    parser.add_argument("--some-joints", action="store_true", help="the CSV may lack joints of the labels")
    parser.add_argument("--json", type=file_path, metavar="FILE", help="write the scores")


def add_report(commands: Any) -> None:
    """A page about runs."""
    text = "write one HTML page about a run, or several side by side"
    parser = add_command(commands, "report", text, _report, more="targets")
    parser.add_argument("targets", nargs="+", metavar="RUN_FOLDER_OR_CHECKPOINT | data.root=DIR",
                        help="all are compared with the first; what is not predicted yet will be")  # fmt: skip
    parser.add_argument(
        "--out", type=file_path, metavar="FILE.html|DIR", help="default: report.html in the first run's folder"
    )


def _test(options: argparse.Namespace) -> None:
    targets, overrides = split_overrides(options.targets)
    if options.root_depth is not None:
        overrides.append(f"evaluation.root_depth={options.root_depth}")
    from integral_pose.experiment import test, test_several

    if len(targets) > 1:
        _print_several(test_several(targets, overrides, options.out))
    else:
        _print_one(test(targets[0] if targets else None, overrides, options.out))


def _print_one(result: TestResult) -> None:
    from integral_pose.evaluation.text_tables import calibration_lines, markdown_table

    print(f"checkpoint   {result.checkpoint}")
    _print_files(result)
    if result.scores is None:
        print(NO_LABELS)
        return
    print(f"scores       {result.scores_json}\n")
    rows = [_row("this model", result.scores)]
    if result.mean_pose is not None:
        rows.append(_row(result.mean_pose_name, result.mean_pose))
    print(markdown_table(rows))
    for line in calibration_lines(result.scores.metrics):
        print(line)
    ratio = ""
    if result.mean_pose is not None:
        ratio = f"{result.scores.mpjpe_mm / result.mean_pose.mpjpe_mm:.2f} of the mean pose's error, "
    print(f"{ratio}on {result.scores.num_samples} test images.")
    order = "" if result.joint_order == "auto" else f" --joint-order {result.joint_order}"
    some = " --some-joints" * result.has_some_joints
    print(f"By joint and action: integral-pose score {result.predictions_csv} --truth {result.truth}{order}{some}")


def _print_files(result: TestResult) -> None:
    print(f"data         {result.truth.parents[1]}, {result.num_images:,} images")
    print(f"predictions  {result.predictions_csv}")
    if result.confidence_csv:
        print(f"confidence   {result.confidence_csv}")
    if result.sigma_csv:
        print(f"sigma        {result.sigma_csv}")
    if result.weights in ("averaged", "raw"):
        print(f"weights      {result.weights}")
    if result.lifting:
        print(f"lifting      {result.lifting}")


def _print_several(results: Sequence[TestResult]) -> None:
    from integral_pose.evaluation.csv_scores import compare_csv
    from integral_pose.evaluation.text_tables import markdown_table

    warnings.showwarning = _print_warning
    rows, first = [], results[0]
    for result in results:
        _print_files(result)
        if result.scores is None:
            continue
        row = _row(str(result.checkpoint), result.scores)
        row["95 % interval"] = _bounds(result.scores.interval_mm)
        is_paired = result is not first and result.truth == first.truth  # frame by frame, on the same frames
        has_intervals = is_paired and result.scores.interval_mm is not None
        files = result.predictions_csv, first.predictions_csv, result.truth
        found = compare_csv(*files, joint_order=result.joint_order, some_joints=True) if has_intervals else None
        row["less the first (mm)"] = None if found is None else found.mean
        row["95 % of that"] = _bounds(found and found.bounds)
        rows.append(row)
    print(f"\n{markdown_table(rows)}" if rows else NO_LABELS)


def _bounds(interval_mm: Sequence[float] | None) -> str:
    return "-" if interval_mm is None else f"{interval_mm[0]:.2f} to {interval_mm[1]:.2f}"


def _row(name: str, scores: Scores) -> dict[str, str | float | None]:
    return {"": name, "MPJPE (mm)": scores.mpjpe_mm, "PA-MPJPE (mm)": scores.pa_mpjpe_mm}


def _score(options: argparse.Namespace) -> None:
    from integral_pose.evaluation.csv_scores import compare_csv, score_csv
    from integral_pose.evaluation.protocols import find_protocol
    from integral_pose.evaluation.scores_json import write_scores_json
    from integral_pose.evaluation.text_tables import scores_table

    require_other_file("--json", options.json, options.predictions, options.truth, options.against)
    protocol = find_protocol(options.protocol)
    warnings.showwarning = _print_warning
    how = {"protocol": protocol, "joint_order": options.joint_order, "some_joints": options.some_joints}
    scores = score_csv(options.predictions, options.truth, **how)
    if protocol.name != "all":
        _print_headline(protocol, scores)
    print(scores_table(scores))
    extra: dict[str, object] = {"predictions": str(options.predictions), "truth": str(options.truth)}
    if options.against:
        found = compare_csv(options.predictions, options.against, options.truth, **how)
        extra["less_the_other_mm"] = {"other": str(options.against), **found._asdict()}
        print(f"MPJPE less that of {options.against}: {found.mean:+.2f} mm, "
              f"95 % interval {found.low:+.2f} to {found.high:+.2f}")  # fmt: skip
    if options.json:
        write_scores_json(options.json, scores, extra)


def _print_headline(protocol: Protocol, scores: Scores) -> None:
    form, unit = (".2f", " mm") if protocol.headline.endswith("_mm") else (".1%", "")
    print(f"protocol {protocol.name}: {protocol.headline} {scores.metrics[protocol.headline]:{form}}{unit}   "
          f"({protocol.meaning})")  # fmt: skip
    if scores.headline_interval:
        low, high = scores.headline_interval
        print(f"95 % interval of it {low:{form}} to {high:{form}}, over {scores.num_sequences} sequences")
    if doubt := protocol.doubt(scores.num_samples):
        print(doubt)


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"integral-pose: warning: {message}", file=sys.stderr)


def _report(options: argparse.Namespace) -> None:
    runs, overrides = split_overrides(options.targets)
    if not runs:
        raise ConfigError("expected a run folder or a checkpoint, found only changes to the configuration")

    from integral_pose.experiment.reporting import write_report

    path = write_report(runs, overrides, options.out)
    print(f"report  {path} ({path.stat().st_size / 1e6:.1f} MB)")
