"""`integral-pose report`: the options. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from integral_pose.errors import ConfigError


def add_report(commands: Any) -> None:
    """The sub-command of the command line."""
    report = commands.add_parser("report", help="write one HTML page about a run, or several side by side")
    report.add_argument("targets", nargs="+", metavar="RUN_FOLDER_OR_CHECKPOINT | data.root=DIR",
                        help="all are held against the first; what is not predicted yet will be")  # fmt: skip
    report.add_argument("--out", type=Path, metavar="FILE.html", help="default: report.html in the first run's folder")
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> None:
    overrides = [text for text in options.targets if "=" in text and not Path(text).exists()]
    runs = [Path(text) for text in options.targets if text not in overrides]
    if not runs:
        raise ConfigError("expected a run folder or a checkpoint, found only changes to the configuration")

    from integral_pose.experiment.reporting import write_report

    path = write_report(runs, overrides, options.out)
    print(f"report  {path} ({path.stat().st_size / 1e6:.1f} MB)")
