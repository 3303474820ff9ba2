"""`prepare` and `check-data`: their options, and what they print. Heavy packages are imported when a command runs."""

from __future__ import annotations

import argparse
import importlib.util
import os
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from integral_pose.cli.arguments import file_path, notice_replaced
from integral_pose.errors import ConfigError, DataError, OutputError

if TYPE_CHECKING:
    from integral_pose.datasets.conversion import ConversionSummary, Request
    from integral_pose.datasets.human36m_table import Choice
    from integral_pose.synthetic.painter import Painter
    from integral_pose.synthetic.presets import Difficulty


class Converter(NamedTuple):
    """A converter on the command line."""

    function: str  # of integral_pose.datasets, 'module:function'; imported when it is called
    help: str
    folder: str  # what --source is


CONVERTERS = {
    "h36m": Converter("human36m:convert_human36m", "Human3.6M's official download",
                      "the tgz archives or what they hold; metadata.xml may be there"),
    "c2f": Converter("c2f:convert_c2f", "Human3.6M as released with coarse-to-fine",
                     "the folder of annot/ and images/"),
    "mmpose": Converter("mmpose:convert_mmpose", "Human3.6M as mmpose prepares it",
                        "the folder of the .npz files, cameras.pkl and the images"),
    "posenet": Converter("posenet:convert_posenet", "Human3.6M as released with 3DMPPE",
                         "the folder of annotations/ and images/"),
    "mpi-inf-3dhp": Converter("mpi_inf_3dhp:convert_mpi_inf_3dhp", "MPI-INF-3DHP's training and test set",
                              "the folder of S1 .. S8 and TS1 .. TS6"),
    "coco": Converter("coco:convert_coco", "COCO's people with joints, 2D",
                      "the folder of annotations/person_keypoints_*.json and of the pictures"),
    "mpii": Converter("mpii:convert_mpii", "MPII Human Pose, 2D",
                      "the folder of annot/*.json, or of the .mat, and of images/"),
}  # fmt: skip


def add_prepare(commands: Any) -> None:
    """Add `prepare`, with a subcommand for each source, to what `add_subparsers` returned."""
    prepare = commands.add_parser("prepare", help="write a data set in the on-disk format of docs/data.md")
    sources = prepare.add_subparsers(dest="source", required=True, metavar="SOURCE")
    _add_synthetic(sources)
    _add_without_depth(sources)
    for name, converter in CONVERTERS.items():
        _add_converter(sources, name, converter)


def add_check(commands: Any) -> None:
    """Add `check-data` to what `add_subparsers` returned."""
    parser = commands.add_parser("check-data", help="read a data set critically: a table, a contact sheet, offenders")
    parser.add_argument("root", type=file_path, metavar="ROOT", help="the folder of annot/ and images/")
    parser.add_argument("--workers", type=int, default=None, metavar="K", help="processes (one a core)")
    parser.add_argument("--augmented", metavar="CONFIG",
                        help="only draw 24 training images as a network of that configuration gets them")  # fmt: skip
    parser.add_argument("--out", "--sheet", type=file_path, default=Path(), metavar="DIR|PNG",
                        help="where to draw 24 crops with their joints: contact_sheet.png or augmented.png in a folder "
                        "(this one), or a file")  # fmt: skip
    parser.set_defaults(run=_check)


def _add_synthetic(sources: Any) -> None:
    parser = sources.add_parser("synthetic", help="render people with known poses")
    parser.add_argument("--out", type=file_path, required=True, metavar="DIR", help="a folder that is not there yet")
    parser.add_argument("--preset", metavar="NAME", help="a set of docs/data.md, such as people-2 or synthetic-2")
    parser.add_argument("--train", type=_count, default=12000, metavar="N", help="training images (%(default)s)")
    parser.add_argument("--valid", type=_count, default=1000, metavar="M", help="test images (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="%(default)s")
    parser.add_argument(
        "--marks", action="store_true", help="clothes that tell left from right, and poses as in synthetic-1"
    )
    parser.add_argument("--people", default="mannequin", choices=("mannequin", "anny"),
                        help="anny: with skin, clothes and hair; needs the extra 'people' (%(default)s)")  # fmt: skip
    parser.add_argument("--cameras", choices=("human36m", "wide"), help="of --people anny: human36m, or any kind")
    parser.add_argument(
        "--backgrounds", type=file_path, metavar="DIR", help="of --people anny: photographs behind them"
    )
    parser.add_argument("--poses", type=file_path, metavar="H5", help="of --people anny: a set that lends its poses")
    parser.add_argument("--workers", type=_count, default=None, metavar="K", help="processes (one a core)")
    parser.set_defaults(run=_prepare_synthetic, default_of=parser.get_default)


def _add_without_depth(sources: Any) -> None:
    parser = sources.add_parser("without-depth", help="part a set: some people keep labels in px alone")
    parser.add_argument("--source", dest="folder", type=file_path, required=True, metavar="ROOT", help="a data set")
    parser.add_argument("--out", type=file_path, required=True, metavar="DIR",
                        help="a folder that is not there yet, for the sets mm/ and px/")  # fmt: skip
    parser.add_argument("--subjects", required=True, metavar="S6,S7", help="who goes into px/")
    parser.set_defaults(run=_prepare_without_depth)


def _prepare_without_depth(options: argparse.Namespace) -> None:
    from integral_pose.datasets.without_depth import part_by_subjects

    subjects = [name.strip() for name in options.subjects.split(",") if name.strip()]
    in_mm, in_px = part_by_subjects(options.folder, options.out, subjects)
    print(f"{options.out}: mm/ has {in_mm:,} training images with labels in mm, px/ {in_px:,} with labels in px alone")


def _add_converter(sources: Any, name: str, converter: Converter) -> None:
    parser = sources.add_parser(name, help=converter.help)
    is_planned = name == "h36m"  # --plan needs neither folder
    parser.add_argument("--source", dest="folder", type=file_path, metavar="DIR", help=converter.folder,
                        required=not is_planned)  # fmt: skip
    parser.add_argument("--out", type=file_path, metavar="DIR", help="a folder that is not there yet",
                        required=not is_planned)  # fmt: skip
    parser.add_argument("--layout", default="files", metavar="files|packed", help="%(default)s")
    parser.add_argument("--crop", default="c2f", metavar="c2f|tight|posenet|metric", help="%(default)s")
    parser.add_argument("--workers", type=int, default=None, metavar="K", help="processes (one a core)")
    if is_planned:
        parser.add_argument("--plan", action="store_true", help="print what would be written, and stop")
    if name in ("h36m", "posenet"):
        _add_choice(parser)
    if name == "mpi-inf-3dhp":
        parser.add_argument("--every", type=int, default=5, metavar="N", help="training frames (%(default)s)")
    parser.set_defaults(run=_prepare)


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


def _prepare_synthetic(options: argparse.Namespace) -> None:
    from integral_pose.synthetic.dataset import render_dataset, render_preset
    from integral_pose.synthetic.presets import EASY, EASY_MARKED, find_preset

    if options.preset:
        preset = find_preset(options.preset)
        for name in ("train", "valid", "seed", "marks", "people", "cameras", "backgrounds", "poses"):
            if getattr(options, name) is not options.default_of(name):  # the very object: what is typed is another
                raise ConfigError(f"--{name} is a part of what --preset {options.preset} means; leave out one of them")
        painter = _people_painter(options, preset.people, preset.seed, preset.difficulty, preset.cameras)
        is_same = render_preset(options.out, options.preset, workers=_workers(options), painter=painter)
        print(f"{options.out}: {options.preset}" + (
            "" if is_same is None else ", byte for byte as defined" if is_same else
            "; its pictures differ from the definition in a few bits, since another processor rounds otherwise: "
            "figures on it compare, but not to the last digit"
        ))  # fmt: skip
        return
    difficulty = EASY_MARKED if options.marks else EASY
    painter = _people_painter(options, options.people, options.seed, difficulty, options.cameras)
    summary = render_dataset(options.out, num_train=options.train, num_valid=options.valid, seed=options.seed,
                             workers=_workers(options), difficulty=difficulty, painter=painter)  # fmt: skip
    _say_written(options.out, summary)


def _say_written(out: Path, summary: ConversionSummary) -> None:
    state = "was complete already" if summary.was_complete else "written"
    print(f"{out}: {summary.num_train:,} training and {summary.num_valid:,} test images, {state}")


def _people_painter(
    options: argparse.Namespace, people: str, seed: int, difficulty: Difficulty, cameras: str | None
) -> Painter | None:
    """None for mannequins, which know nothing of photographs, cameras and files of poses."""
    if people == "mannequin":
        for name in ("cameras", "backgrounds", "poses"):
            if getattr(options, name) is not None:
                raise ConfigError(f"--{name} needs --people anny")
        return None
    if options.marks:
        raise ConfigError("--marks is for mannequins; nobody else has marks")
    from integral_pose.synthetic.people.body_data import INSTALL

    if importlib.util.find_spec("embreex") is None:
        raise ConfigError(INSTALL)
    from integral_pose.synthetic.people.people_painter import set_up
    from integral_pose.synthetic.presets import PEOPLE

    hard = difficulty if options.preset else PEOPLE
    return set_up(seed, hard, options.cameras or cameras or "human36m", options.backgrounds, options.poses)


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
    _say_written(options.out, summary)
    if summary.num_train == 0 and not _asked_for_test_subjects_alone(options):
        raise DataError(
            f"{options.out}: holds no training images, since {options.folder} has none; it serves test alone"
        )
    print(f"next: integral-pose check-data {options.out}")


def _asked_for_test_subjects_alone(options: argparse.Namespace) -> bool:
    from integral_pose.datasets.human36m_table import TEST_SUBJECTS

    return hasattr(options, "subjects") and set(_choice(options).subjects) <= set(TEST_SUBJECTS)


def _convert(options: argparse.Namespace, request: Request) -> ConversionSummary:
    further: tuple[Any, ...] = ()
    if options.source in ("h36m", "posenet"):
        further = (_choice(options),)
    elif options.source == "mpi-inf-3dhp":
        further = (options.every,)
    convert = pkgutil.resolve_name(f"integral_pose.datasets.{CONVERTERS[options.source].function}")
    summary: ConversionSummary = convert(options.folder, request, *further)
    return summary


def _choice(options: argparse.Namespace) -> Choice:
    from integral_pose.datasets.human36m_table import Choice

    subjects = tuple(name.strip() for name in options.subjects.split(",") if name.strip())
    return Choice(subjects, options.every, options.test_every, options.drifted, options.corrupt_video)


def _check(options: argparse.Namespace) -> int:
    if options.augmented:
        return _draw_augmented(options)
    from integral_pose.datasets.check import check_data

    sheet = _sheet(options.out, "contact_sheet.png")
    report = check_data(options.root, sheet, workers=_workers(options))
    print(report.table())
    return 1 if report.offenders else 0


def _sheet(out: Path, name: str) -> Path:
    """The file that --out says, which is a folder where it has no suffix; that one is there already is said."""
    path = out if out.suffix and not out.is_dir() else out / name
    notice_replaced(path)
    return path


def _draw_augmented(options: argparse.Namespace) -> int:
    from integral_pose.config.loading import load_config
    from integral_pose.experiment.assembly import read_training_data
    from integral_pose.experiment.augmented_sheet import write_augmented_sheet

    config = load_config(options.augmented, [f"data.root={options.root}"]).config
    out = _sheet(options.out, "augmented.png")
    try:
        write_augmented_sheet(out, config, read_training_data(config).train)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error}") from None
    print(f"{out}: training images as augmented (blue is the person's right, vermilion the left)")
    return 0


def _workers(options: argparse.Namespace) -> int:
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers is {options.workers}; it has to be 1 or more")
    return options.workers or os.cpu_count() or 1


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, found '{text}'") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, found {number}")
    return number
