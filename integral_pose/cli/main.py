"""The command line: parses, calls the front door, prints. No work of its own.

Heavy packages are imported inside the commands that need them, so that --help and a misspelt key cost no wait.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from integral_pose import __version__
from integral_pose.cli.bench import add_bench
from integral_pose.cli.predict import add_predict
from integral_pose.cli.prepare import add_check, add_prepare
from integral_pose.cli.report import add_report
from integral_pose.cli.weights import add_model_commands
from integral_pose.contracts import Scores
from integral_pose.errors import IntegralPoseError
from integral_pose.runs.status import read_status
from integral_pose.runs.stop import Signalled, signals_as_errors

if TYPE_CHECKING:
    from integral_pose.experiment import TestResult

OVERRIDE_HELP = "changes to the configuration, for example trainer.batch_size=64 stages.0.epochs=3"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with signals_as_errors(), warnings.catch_warnings():  # a command may print warnings its own way
            status: int = options.run(options) or 0
    except (IntegralPoseError, Signalled) as error:
        print(f"integral-pose {options.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"integral-pose {options.command}: stopped", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="integral-pose", description="3D human pose by integral regression.")
    parser.add_argument("--version", action="version", version=f"integral-pose {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add_prepare(commands)
    add_check(commands)

    train = commands.add_parser("train", help="train an experiment, or continue it where it stopped")
    train.add_argument("config", metavar="CONFIG", help="a YAML file, for example configs/demo.yaml")
    train.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDE_HELP)
    train.add_argument("--allow-change", action="store_true", help="continue with other learning rates, epochs, "
                       "weights or augmentation than before, where the run can")  # fmt: skip
    train.set_defaults(run=_train)

    status = commands.add_parser("status", help="print how a run stands, and end with the exit status it ended with")
    status.add_argument("run_dir", type=Path, metavar="RUN_FOLDER")
    status.set_defaults(run=_status)

    test = commands.add_parser("test", help="predict the test set, write predictions.csv, score it if it has labels")
    test.add_argument("targets", nargs="*", metavar="RUN_FOLDER_OR_CHECKPOINT | key=value",
                      help=f"default: the newest run; several are compared. {OVERRIDE_HELP}")  # fmt: skip
    test.add_argument("--root-depth", metavar="labels|bone_length|MM",
                      help="image volume: how far away people are, the same as evaluation.root_depth=..")  # fmt: skip
    test.set_defaults(run=_test)

    score = commands.add_parser("score", help="score a CSV of predictions (needs NumPy and h5py alone)")
    score.add_argument("predictions", type=Path, metavar="predictions.csv")
    score.add_argument("--truth", type=Path, required=True, metavar="H5", help="labels, for example annot/valid.h5")
    score.add_argument("--protocol", default="all", metavar="NAME", help="see docs/metrics.md (%(default)s)")
    score.add_argument("--against", type=Path, metavar="CSV", help="other predictions: the difference, frame by frame")
    score.add_argument("--json", type=Path, metavar="FILE", help="write the scores")
    score.set_defaults(run=_score)

    add_model_commands(commands)
    add_report(commands)
    add_predict(commands)
    add_bench(commands)

    doctor = commands.add_parser("doctor", help="look at machine, data and run folder before a long run, with advice")
    doctor.add_argument("--data", type=Path, metavar="DIR", help="a data set, to be read as training would")
    doctor.add_argument("--run-dir", type=Path, default=Path("runs"), metavar="DIR", help="%(default)s")
    doctor.set_defaults(run=_doctor)

    config = commands.add_parser("config", help="print the resolved configuration with where each value came from")
    config.add_argument("config", metavar="CONFIG")
    config.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDE_HELP)
    config.add_argument("--get", metavar="KEY", help="print the value of one key alone, for scripts")
    config.set_defaults(run=_config)
    return parser


def _train(options: argparse.Namespace) -> None:
    from integral_pose.config.loading import load_config

    config = load_config(options.config, options.overrides).config

    from integral_pose.experiment import train

    folder = train(config, allow_change=options.allow_change)
    if os.environ.get("RANK", "0") == "0":  # torchrun starts this once a GPU
        print(f"trained: {folder}\nnext:    ./run_test.sh {folder}")


def _status(options: argparse.Namespace) -> int:
    found = read_status(options.run_dir)
    print(found["state"])
    if found["message"]:
        print(found["message"], file=sys.stderr)
    return 1 if found["exit_code"] is None else int(found["exit_code"])  # a run that is under way has not succeeded


def _test(options: argparse.Namespace) -> None:
    overrides = [text for text in options.targets if "=" in text and not Path(text).exists()]
    targets = [Path(text) for text in options.targets if text not in overrides]
    if options.root_depth is not None:
        overrides.append(f"evaluation.root_depth={options.root_depth}")
    from integral_pose.experiment import test, test_several

    if len(targets) > 1:
        _compare(test_several(targets, overrides))
        return
    result = test(targets[0] if targets else None, overrides)
    print(f"checkpoint   {result.checkpoint}")
    _print_files(result)
    if result.scores is None or result.mean_pose is None:
        print("The test set has no labels (annot/valid.h5), so there is no score.")
        return
    from integral_pose.evaluation.report import comparison_table

    print(f"scores       {result.scores_json}\n")
    print(comparison_table([_row("this model", result.scores), _row("mean training pose", result.mean_pose)]))
    ratio = result.scores.mpjpe_mm / result.mean_pose.mpjpe_mm
    print(f"{ratio:.2f} of the mean pose's error, on {result.scores.num_samples} test images.")
    print(f"By joint and action: integral-pose score {result.predictions_csv} --truth {result.truth}")


def _print_files(result: TestResult) -> None:
    print(f"predictions  {result.predictions_csv}")
    if result.confidence_csv:
        print(f"confidence   {result.confidence_csv}")
    if result.weights in ("averaged", "raw"):
        print(f"weights      {result.weights}")
    if result.lifting:
        print(f"lifting      {result.lifting}")


def _compare(results: Sequence[TestResult]) -> None:
    from integral_pose.evaluation.report import comparison_table
    from integral_pose.evaluation.scoring import compare_csv

    warnings.showwarning = _say_warning
    rows, first = [], results[0]
    for result in results:
        _print_files(result)
        if result.scores is None:
            continue
        row = _row(str(result.checkpoint), result.scores)
        row["95 % interval"] = _bounds(result.scores.interval_mm)
        is_paired = result is not first and result.truth == first.truth  # frame by frame, on the same frames
        has_intervals = is_paired and result.scores.interval_mm is not None
        found = compare_csv(result.predictions_csv, first.predictions_csv, result.truth) if has_intervals else None
        row["less the first (mm)"] = None if found is None else found.mean
        row["95 % of that"] = _bounds(None if found is None else [found.low, found.high])
        rows.append(row)
    print(f"\n{comparison_table(rows)}" if rows else "The test set has no labels (annot/valid.h5), so no score.")


def _bounds(interval_mm: Sequence[float] | None) -> str:
    return "-" if interval_mm is None else f"{interval_mm[0]:.2f} to {interval_mm[1]:.2f}"


def _row(name: str, scores: Scores) -> dict[str, str | float | None]:
    return {"": name, "MPJPE (mm)": scores.mpjpe_mm, "PA-MPJPE (mm)": scores.pa_mpjpe_mm}


def _score(options: argparse.Namespace) -> None:
    from integral_pose.evaluation.protocols import find_protocol
    from integral_pose.evaluation.report import scores_table, write_scores_json
    from integral_pose.evaluation.scoring import compare_csv, score_csv

    protocol = find_protocol(options.protocol)
    warnings.showwarning = _say_warning
    scores = score_csv(options.predictions, options.truth, protocol=protocol)
    if protocol.name != "all":
        headline = scores.metrics[protocol.headline]
        shown = f"{headline:.2f} mm" if protocol.headline.endswith("_mm") else f"{headline:.1%}"
        print(f"protocol {protocol.name}: {protocol.headline} {shown}   ({protocol.meaning})")
        if scores.headline_interval:
            form = ".2f" if protocol.headline.endswith("_mm") else ".1%"
            low, high = scores.headline_interval
            print(f"95 % interval of it {low:{form}} to {high:{form}}, over {scores.num_sequences} sequences")
        if doubt := protocol.doubt(scores.num_samples):
            print(doubt)
    print(scores_table(scores))
    extra: dict[str, object] = {"predictions": str(options.predictions), "truth": str(options.truth)}
    if options.against:
        found = compare_csv(options.predictions, options.against, options.truth, protocol)
        extra["less_the_other_mm"] = {"other": str(options.against), **found._asdict()}
        print(f"MPJPE less that of {options.against}: {found.mean:+.2f} mm, "
              f"95 % interval {found.low:+.2f} to {found.high:+.2f}")  # fmt: skip
    if options.json:
        write_scores_json(options.json, scores, extra)


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"integral-pose: warning: {message}", file=sys.stderr)


def _doctor(options: argparse.Namespace) -> int:
    from integral_pose.cli.doctor import examine, table

    checks = examine(options.data, options.run_dir)
    print(table(checks))
    return int(any(check.verdict == "BAD" for check in checks))


def _config(options: argparse.Namespace) -> None:
    from integral_pose.config.loading import load_config

    loaded = load_config(options.config, options.overrides)
    print(loaded.get(options.get) if options.get else loaded.describe().rstrip("\n"))
