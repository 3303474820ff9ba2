"""The command lines of the converters and of check-data. Heavy packages are imported when a command runs."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integral_pose.errors import ConfigError

if TYPE_CHECKING:
    from integral_pose.datasets.conversion import Request, Summary


@dataclass(frozen=True)
class Source:
    """A converter on the command line."""

    name: str
    help: str
    folder: str  # what --source is


SOURCES = (
    Source("h36m", "Human3.6M's official download", "the tgz archives or what they hold; metadata.xml may be there"),
    Source("c2f", "Human3.6M as released with coarse-to-fine", "the folder of annot/ and images/"),
    Source("mmpose", "Human3.6M as mmpose prepares it", "the folder of the .npz files, cameras.pkl and the pictures"),
    Source("posenet", "Human3.6M as released with 3DMPPE", "the folder of annotations/ and images/"),
    Source("mpi-inf-3dhp", "MPI-INF-3DHP's training and test set", "the folder of S1 .. S8 and TS1 .. TS6"),
)


def add_sources(commands: Any) -> None:
    """Add a subcommand for each converter to what `add_subparsers` returned."""
    for source in SOURCES:
        parser = commands.add_parser(source.name, help=source.help)
        is_planned = source.name == "h36m"  # --plan needs neither folder
        parser.add_argument("--source", dest="folder", type=Path, metavar="DIR", help=source.folder,
                            required=not is_planned)  # fmt: skip
        parser.add_argument("--out", type=Path, metavar="DIR", help="a folder that is not there yet",
                            required=not is_planned)  # fmt: skip
        parser.add_argument("--layout", default="files", metavar="files|packed", help="%(default)s")
        parser.add_argument("--crop", default="c2f", metavar="c2f|tight|metric", help="%(default)s")
        parser.add_argument("--workers", type=int, default=None, metavar="K", help="processes (one a core)")
        if is_planned:
            parser.add_argument("--plan", action="store_true", help="print what would be written, and stop")
        if source.name in ("h36m", "posenet"):
            _add_choice(parser)
        if source.name == "mpi-inf-3dhp":
            parser.add_argument("--every", type=int, default=5, metavar="N", help="training frames (%(default)s)")
        parser.set_defaults(run=_prepare)


def add_check(commands: Any) -> None:
    """Add check-data to what `add_subparsers` returned."""
    parser = commands.add_parser("check-data", help="read a data set critically: a table, a contact sheet, offenders")
    parser.add_argument("root", type=Path, metavar="ROOT", help="the folder of annot/ and images/")
    parser.add_argument(
        "--sheet",
        type=Path,
        default=None,
        metavar="PNG",
        help="a picture of 24 crops with their joints; default: contact_sheet.png in the current folder",
    )
    parser.add_argument("--workers", type=int, default=None, metavar="K", help="processes (one a core)")
    parser.set_defaults(run=_check)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Which frames of Human3.6M, for the sources that have them all."""
    parser.add_argument("--subjects", default="S1,S5,S6,S7,S8,S9,S11", metavar="S1,S9", help="%(default)s")
    parser.add_argument("--every", type=int, default=5, metavar="N", help="training frames (%(default)s)")
    parser.add_argument("--test-every", type=int, default=None, metavar="N",
                        help="test frames; default: every 5th, and of that list every 10th entry")  # fmt: skip
    parser.add_argument("--drifted", default="keep", choices=("keep", "exclude", "correct"),
                        help="three sequences of S9 with displaced 3D (%(default)s)")  # fmt: skip
    parser.add_argument("--corrupt-video", default="exclude", choices=("exclude", "keep"),
                        help="S11 Directions camera 54138969, mended in 2020 (%(default)s)")  # fmt: skip


def _prepare(options: argparse.Namespace) -> None:
    if options.source == "h36m" and options.plan:
        from integral_pose.datasets.human36m_table import describe_plan

        print(describe_plan(_choice(options)))
        return
    for name, value in (("--source", options.folder), ("--out", options.out)):
        if value is None:
            raise ConfigError(f"{name} is missing")
    from integral_pose.datasets.conversion import Request
    from integral_pose.io.readers import existing

    existing(options.folder, "the folder given as --source")
    request = Request(options.out, options.source, options.layout, options.crop, _workers(options))
    summary = _convert(options, request)
    for note in summary.notes:
        print(note)
    state = "was complete already" if summary.was_complete else "written"
    print(f"{options.out}: {summary.num_train:,} training and {summary.num_valid:,} test images, {state}")
    print(f"next: integral-pose check-data {options.out}")


def _convert(options: argparse.Namespace, request: Request) -> Summary:
    if options.source == "h36m":
        from integral_pose.datasets.human36m import convert_human36m

        return convert_human36m(options.folder, request, _choice(options))
    if options.source == "mpi-inf-3dhp":
        from integral_pose.datasets.mpi_inf_3dhp import convert_mpi_inf_3dhp

        return convert_mpi_inf_3dhp(options.folder, request, options.every)
    if options.source == "c2f":
        from integral_pose.datasets.c2f import convert_c2f

        return convert_c2f(options.folder, request)
    if options.source == "mmpose":
        from integral_pose.datasets.mmpose import convert_mmpose

        return convert_mmpose(options.folder, request)
    from integral_pose.datasets.posenet import convert_posenet

    return convert_posenet(options.folder, request, _choice(options))


def _choice(options: argparse.Namespace) -> Any:
    from integral_pose.datasets.human36m_table import Choice

    subjects = tuple(name.strip() for name in options.subjects.split(",") if name.strip())
    return Choice(subjects, options.every, options.test_every, options.drifted, options.corrupt_video)


def _check(options: argparse.Namespace) -> int:
    from integral_pose.datasets.check import check_data

    sheet = options.sheet or Path("contact_sheet.png")
    report = check_data(options.root, sheet, workers=_workers(options))
    print(report.table())
    return 1 if report.offenders else 0


def _workers(options: argparse.Namespace) -> int:
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers is {options.workers}; it has to be 1 or more")
    return options.workers or os.cpu_count() or 1
