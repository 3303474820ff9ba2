"""`integral-pose bench ...`: the options, and which module measures. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_bench(commands: Any) -> None:
    """The sub-command of the command line."""
    bench = commands.add_parser("bench", help="measure speed and memory")
    measures = bench.add_subparsers(dest="measure", required=True, metavar="WHAT")

    data = _add(measures, "data", "images a second a core, from disk into a batch", rounds=7)
    data.add_argument("--root", type=Path, metavar="DIR", help="a data set (a few rendered people)")
    data.set_defaults(run=_data)

    loss = _add(measures, "loss", "the two losses from given logits: ours, published, straightforward", rounds=5)
    _add_device(loss)
    loss.add_argument("--batch", type=int, default=4, metavar="B", help="images (%(default)s)")
    loss.add_argument("--size", type=int, default=64, metavar="N", help="voxels a side (%(default)s)")
    loss.add_argument(
        "--no-compile", action="store_true", help="leave out the compiled plain form: half a minute a case"
    )
    loss.set_defaults(run=_loss)

    step = _add(measures, "step", "whole training steps: the published recipe and ours", rounds=5)
    _add_device(step)
    step.add_argument("--batch", type=int, default=8, metavar="B", help="images (%(default)s)")
    step.add_argument("--compile", choices=("auto", "on", "off"), default="auto", help="our step (%(default)s)")
    step.set_defaults(run=_step)

    safety = _add(measures, "safety", "what checkpoints cost the training: steps with and without", rounds=5)
    _add_device(safety)
    safety.add_argument("--batch", type=int, default=8, metavar="B", help="images (%(default)s)")
    safety.add_argument("--every", type=int, default=500, metavar="N", help="steps between two of them (%(default)s)")
    safety.add_argument("--dir", type=Path, metavar="DIR", help="the disk to write to (a temporary folder)")
    safety.set_defaults(run=_safety)

    for name, text, run in (
        ("ablation", "the approaches on one benchmark: the same time, several seeds, one table", _ablation),
        ("trials", "changes of the recipe, one at a time, scored on a training subject held out", _trials),
    ):
        parser = measures.add_parser(name, help=text)
        parser.add_argument("--small", action="store_true", help="synthetic-1-small at 64 px, for CPUs")
        parser.add_argument("--seeds", type=int, default=3, metavar="N", help="%(default)s")
        parser.add_argument("--minutes", type=float, metavar="N", help="of one core or GPU, a run (2 small, 30 large)")
        parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (%(default)s)")
        parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone, and what they are compared with")
        parser.add_argument("--data", type=Path, metavar="DIR", help="another data set than the rendered one")
        parser.add_argument("--name", metavar="NAME", help="what that is called in the results")
        parser.add_argument("--runs", type=Path, metavar="DIR", help="where runs go (runs/benchmark/NAME)")
        parser.add_argument("--out", type=Path, default=Path("docs/results"), metavar="DIR", help="%(default)s")
        parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="changes to every configuration")
        parser.set_defaults(run=run)

    results = measures.add_parser("results", help="the page of results from their JSON files")
    results.add_argument("--write", type=Path, required=True, metavar="FILE", help="for example docs/results.md")
    results.set_defaults(run=_results)


def _add(measures: Any, name: str, text: str, *, rounds: int) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = measures.add_parser(name, help=text)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument(
        "--rounds", type=int, default=rounds, metavar="R", help="of all candidates in turn (%(default)s)"
    )
    return parser


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="%(default)s")


def _data(options: argparse.Namespace) -> None:
    from integral_pose.bench.data import data_table, measure_data

    result = measure_data(options.root, rounds=options.rounds)
    _report(data_table(result), result, options.json)


def _loss(options: argparse.Namespace) -> None:
    from integral_pose.bench.loss import run, table
    from integral_pose.io.devices import choose_device

    device = str(choose_device(options.device))
    result = run(device, options.batch, options.size, options.rounds, with_compiled=not options.no_compile)
    _report(table(result), result, options.json)


def _step(options: argparse.Namespace) -> None:
    from integral_pose.bench.step import measure_apart, table

    result = measure_apart(options.batch, options.rounds, options.device, options.compile)
    _report(table(result), result, options.json)


def _safety(options: argparse.Namespace) -> None:
    from integral_pose.bench.safety import measure, table

    result = measure(options.batch, options.rounds, options.device, options.every, options.dir)
    _report(table(result), result, options.json)


def _ablation(options: argparse.Namespace) -> None:
    from integral_pose.bench.ablation import ablation

    ablation(options)


def _trials(options: argparse.Namespace) -> None:
    from integral_pose.bench.ablation import trials

    trials(options)


def _results(options: argparse.Namespace) -> None:
    from integral_pose.bench.results_page import write

    write(options.write)


def _report(table: str, result: dict[str, Any], path: Path | None) -> None:
    print(table)
    if path:
        path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
