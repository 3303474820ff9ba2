"""`python -m benchmarks COMMAND`, from the root of the repository; `--help` lists the commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import ablation, breaks, gpu_train, real_pictures, results_page, variants
from integral_pose.cli.arguments import add_command
from integral_pose.cli.main import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text, run in (
        ("ablation", "the approaches on one benchmark: the same time, several seeds, one table", ablation.ablation),
        ("trials", "changes of the recipe, one at a time, scored on a held-out training subject", ablation.trials),
    ):
        _add_comparison(add_command(commands, name, text, run))
    text = "the demo's network trained in two or more ways, on as many images or for as long"
    variants.add_options(add_command(commands, "variants", text, variants.variants))
    _add_results(commands)
    _add_gpu_train(commands)
    _add_real_pictures(commands)
    _add_breaks(commands)
    return run_command(parser, arguments)


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--small", action="store_true", help="synthetic-1-small at 64 px, for CPUs")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many runs of each (%(default)s)")
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="of one core or GPU for a run (30, or 2 with --small)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone, and what they are compared with")
    parser.add_argument("--data", type=Path, metavar="DIR", help="another data set than the rendered one")
    parser.add_argument("--name", metavar="NAME", help="what that is called in the results")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="where runs go (runs/benchmark/NAME)")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results"), metavar="DIR", help="where the JSON file goes (%(default)s)"
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="changes to every configuration")


def _add_results(commands: Any) -> None:
    parser = add_command(commands, "results", "the page of results from their JSON files", results_page.results)
    parser.add_argument("--write", type=Path, required=True, metavar="FILE", help="for example docs/results.md")


def _add_gpu_train(commands: Any) -> None:
    text = "one approach rendered, trained and scored within some minutes"
    parser = add_command(commands, "gpu_train", text, gpu_train.gpu_train, more="overrides")
    parser.add_argument("config", help="for example configs/benchmark/integral.yaml")
    parser.add_argument("minutes", type=float, help="for all of it, rendering included where the data are not there")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--small", action="store_true", help="synthetic-1-small at the size of the file, to try it")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--data", type=Path, metavar="DIR", help="rendered where it is not there (data/NAME)")
    parser.add_argument("--out", type=Path, default=Path("gpu_train.json"), metavar="FILE")


def _add_real_pictures(commands: Any) -> None:
    text = "trained networks on the real photographs that INTEGRAL_POSE_SAMPLES names: docs/real_pictures.md"
    parser = add_command(commands, "real_pictures", text, real_pictures.real_pictures)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, a checkpoint or a model file")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="(real_pictures in the first run's folder)")


def _add_breaks(commands: Any) -> None:
    text = "breaks of the code, one at a time: which of them do the tests notice?"
    parser = add_command(commands, "breaks", text, breaks.breaks)
    parser.add_argument("--number", type=int, default=40, metavar="N", help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which are drawn (%(default)s)")
    parser.add_argument("--packages", nargs="+", metavar="NAME", help="of these alone, for example losses training")


if __name__ == "__main__":
    sys.exit(main())
