"""`integral-pose doctor`: what a run needs of the machine, looked at before it starts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integral_pose.cli.arguments import add_command

if TYPE_CHECKING:
    from integral_pose.experiment.machine_check import Check


def add_doctor(commands: Any) -> None:
    """The machine before a run."""
    text = "look at machine, data and run folder before a long run, with advice"
    parser = add_command(commands, "doctor", text, _doctor)
    parser.add_argument("--data", type=Path, metavar="DIR", help="a data set, to be read as training would")
    parser.add_argument(
        "--run-dir", type=Path, default=Path("runs"), metavar="DIR", help="where runs will be written (%(default)s)"
    )


def _doctor(options: argparse.Namespace) -> int:
    from integral_pose.experiment.machine_check import check_machine

    checks = check_machine(options.data, options.run_dir)
    print(_table(checks))
    return int(any(check.verdict == "BAD" for check in checks))


def _table(checks: Sequence[Check]) -> str:
    """One line a check, advice below it, and the sum."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.verdict:<4}  {check.name:<{width}}  {check.finding}")
        if check.advice:
            lines.append(f"{'':<{width + 8}}-> {check.advice}")
    bad = sum(check.verdict == "BAD" for check in checks)
    return "\n".join([*lines, f"\n{bad} of {len(checks)} checks failed" if bad else "\nready to train"])
