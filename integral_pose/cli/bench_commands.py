"""`integral-pose bench data | loss | step | safety`: speed and memory on this machine."""

import argparse
import json
from pathlib import Path
from typing import Any

from integral_pose.cli.arguments import DEVICES, add_command, file_path


def add_bench(commands: Any) -> None:
    """Measurements."""
    bench = commands.add_parser("bench", help="measure speed and memory on this machine")
    measures = bench.add_subparsers(dest="measure", required=True, metavar="WHAT")

    data = _add(measures, "data", "images a second a core, from disk into a batch", _data, rounds=7)
    data.add_argument("--root", type=file_path, metavar="DIR", help="a data set (a few rendered people)")

    loss = _add(measures, "loss", "the two losses from given logits: ours, published, straightforward", _loss, rounds=5)
    _add_device_and_batch(loss, 4)
    loss.add_argument("--size", type=int, default=64, metavar="N", help="voxels a side (%(default)s)")
    loss.add_argument("--no-compile", action="store_true", help="leave out the form by torch.compile: half a minute")

    step = _add(measures, "step", "whole training steps: the published recipe and ours", _step, rounds=5)
    _add_device_and_batch(step, 8)
    step.add_argument("--compile", choices=("auto", "on", "off"), default="auto", help="our step (%(default)s)")

    safety = _add(measures, "safety", "what checkpoints cost the training: steps with and without", _safety, rounds=5)
    _add_device_and_batch(safety, 8)
    safety.add_argument("--minutes", type=float, default=15, metavar="M", help="between two of them (%(default)s)")
    safety.add_argument("--dir", type=file_path, metavar="DIR", help="the disk to write to (a temporary folder)")


def _add(measures: Any, name: str, text: str, run: Any, *, rounds: int) -> argparse.ArgumentParser:
    parser = add_command(measures, name, text, run)
    parser.add_argument("--json", type=file_path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--rounds", type=int, default=rounds, metavar="R",
                        help="how often all candidates have their turn (%(default)s)")  # fmt: skip
    return parser


def _add_device_and_batch(parser: argparse.ArgumentParser, batch: int) -> None:
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=batch, metavar="B", help="images (%(default)s)")


def _data(options: argparse.Namespace) -> None:
    from integral_pose.bench.loader_speed import MEANINGS, measure_loading

    _report(measure_loading(options.root, options.rounds), MEANINGS, options.json)


def _loss(options: argparse.Namespace) -> None:
    from integral_pose.bench.loss_speed import MEANINGS, measure_losses
    from integral_pose.io.devices import choose_device

    device = choose_device(options.device)
    result = measure_losses(device, options.batch, options.size, options.rounds, with_compiled=not options.no_compile)
    _report(result, MEANINGS, options.json)


def _step(options: argparse.Namespace) -> None:
    from integral_pose.bench.step_speed import MEANINGS, measure_steps

    _report(measure_steps(options.batch, options.rounds, options.device, options.compile), MEANINGS, options.json)


def _safety(options: argparse.Namespace) -> None:
    from integral_pose.bench.checkpoint_cost import MEANINGS, measure_checkpoints

    result = measure_checkpoints(options.batch, options.rounds, options.device, options.minutes * 60, options.dir)
    _report(result, MEANINGS, options.json)


def _report(result: dict[str, Any], meanings: dict[str, str], path: Path | None) -> None:
    from integral_pose.bench.measuring import figures_table

    print(figures_table(result, meanings))
    if path:
        path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
