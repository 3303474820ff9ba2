"""`integral-pose train | status | config | processes | doctor`: a run, and what it needs of the machine."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integral_pose.cli.arguments import OVERRIDE_HELP, add_command, file_path
from integral_pose.io.notices import announce
from integral_pose.runs.status import read_status

if TYPE_CHECKING:
    from integral_pose.experiment.machine_check import Check


def add_train(commands: Any) -> None:
    """Train an experiment, or continue it."""
    text = "train an experiment, or continue it where it stopped"
    parser = add_command(commands, "train", text, _train, more="overrides")
    _add_configuration(parser)
    parser.add_argument("--allow-change", action="store_true", help="continue with other learning rates, epochs, "
                        "weights or augmentation than before, where the run can")  # fmt: skip


def add_status(commands: Any) -> None:
    """How a run stands."""
    text = "print how a run stands, and end with the exit status it ended with"
    add_command(commands, "status", text, _status).add_argument("run_dir", type=file_path, metavar="RUN_FOLDER")


def add_config(commands: Any) -> None:
    """A configuration with the origins of its values."""
    text = "print the resolved configuration with where each value came from"
    parser = add_command(commands, "config", text, _config, more="overrides")
    _add_configuration(parser)
    parser.add_argument("--get", metavar="KEY", help="print the value of one key alone, for scripts")


def add_processes(commands: Any) -> None:
    """How many processes to start."""
    text = "print how many processes train on this machine: one a GPU, for scripts"
    _add_configuration(add_command(commands, "processes", text, _processes, more="overrides"))


def add_doctor(commands: Any) -> None:
    """The machine before a run."""
    text = "look at machine, data and run folder before a long run, with advice"
    parser = add_command(commands, "doctor", text, _doctor)
    parser.add_argument("--data", type=file_path, metavar="DIR", help="a data set, to be read as training would")
    parser.add_argument(
        "--run-dir",
        type=file_path,
        default=Path("runs"),
        metavar="DIR",
        help="where runs will be written (%(default)s)",
    )


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", metavar="CONFIG", help="a YAML file, for example configs/demo.yaml, or a packaged one by name: demo"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDE_HELP)


def _train(options: argparse.Namespace) -> None:
    from integral_pose.config.loading import load_config

    config = load_config(options.config, options.overrides).config

    from integral_pose.experiment import train

    folder = train(config, allow_change=options.allow_change)
    if os.environ.get("RANK", "0") == "0":  # torchrun starts this once a GPU
        test = "./run_test.sh" if Path("run_test.sh").is_file() else "integral-pose test"
        announce(f"trained: {folder}\nnext:    {test} {folder}")


def _status(options: argparse.Namespace) -> int:
    status = read_status(options.run_dir)
    print(status["state"])
    if status["message"]:
        print(status["message"], file=sys.stderr)
    return 1 if status["exit_code"] is None else int(status["exit_code"])  # a run under way has not succeeded


def _config(options: argparse.Namespace) -> None:
    from integral_pose.config.loading import load_config

    loaded = load_config(options.config, options.overrides)
    print(loaded.get(options.get) if options.get else loaded.describe().rstrip("\n"))


def _processes(options: argparse.Namespace) -> None:
    from integral_pose.config.loading import load_config

    name = load_config(options.config, options.overrides).config.trainer.device

    from integral_pose.io.devices import count_processes

    print(count_processes(name))


def _doctor(options: argparse.Namespace) -> int:
    from integral_pose.experiment.machine_check import check_machine

    checks = check_machine(options.data, options.run_dir)
    print(_checks_table(checks))
    return int(any(check.verdict == "BAD" for check in checks))


def _checks_table(checks: Sequence[Check]) -> str:
    """One line a check, advice below it, and the sum."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.verdict:<4}  {check.name:<{width}}  {check.finding}")
        if check.advice:
            lines.append(f"{'':<{width + 8}}-> {check.advice}")
    bad = sum(check.verdict == "BAD" for check in checks)
    return "\n".join([*lines, f"\n{bad} of {len(checks)} checks failed" if bad else "\nready to train"])
