"""`integral-pose report`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from integral_pose.cli.arguments import add_command, split_overrides
from integral_pose.errors import ConfigError


def add_report(commands: Any) -> None:
    """A page about runs."""
    text = "write one HTML page about a run, or several side by side"
    parser = add_command(commands, "report", text, _report, more="targets")
    parser.add_argument("targets", nargs="+", metavar="RUN_FOLDER_OR_CHECKPOINT | data.root=DIR",
                        help="all are compared with the first; what is not predicted yet will be")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE.html", help="default: report.html in the first run's folder")


def _report(options: argparse.Namespace) -> None:
    runs, overrides = split_overrides(options.targets)
    if not runs:
        raise ConfigError("expected a run folder or a checkpoint, found only changes to the configuration")

    from integral_pose.experiment.reporting import write_report

    path = write_report(runs, overrides, options.out)
    print(f"report  {path} ({path.stat().st_size / 1e6:.1f} MB)")
