"""`integral-pose predict`."""

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from integral_pose.cli.arguments import DEVICES, add_command, file_path
from integral_pose.errors import ConfigError
from integral_pose.predict.box_forms import FORMS, XYWH
from integral_pose.predict.coco_people import LEAST_SCORE, PeopleWanted


def add_predict(commands: Any) -> None:
    """Poses in pictures."""
    text = "poses of the people in an image, a folder of images or a video"
    parser = add_command(commands, "predict", text, _predict, more="behind_options")
    parser.set_defaults(behind_options=[])
    parser.add_argument("model", nargs="?", metavar="MODEL",
                        help="a run folder, a checkpoint or a model file (the packaged model)")  # fmt: skip
    parser.add_argument("source", metavar="IMAGE|FOLDER|VIDEO|-", help="- reads one image from standard input")
    parser.add_argument(
        "--out", type=file_path, default=Path("poses"), metavar="DIR", help="for the results (%(default)s)"
    )
    boxes = parser.add_mutually_exclusive_group()
    boxes.add_argument("--box", type=_four, action="append", default=[], metavar="x,y,w,h",
                       help="a person's box in px, for every picture; once a person (default: a detector)")  # fmt: skip
    boxes.add_argument(
        "--boxes", type=file_path, metavar="FILE", help=".json or .csv by image or frame: docs/predict.md"
    )
    boxes.add_argument("--whole-image", action="store_true", help="one person who fills the picture")
    boxes.add_argument("--detector-weights", type=file_path, metavar="PATH", help="torchvision's ssdlite320 state dict")
    parser.add_argument("--box-form", choices=FORMS, default=XYWH, help="what the four numbers are (%(default)s)")
    parser.add_argument(
        "--box-category", default="person", metavar="NAME", help="of a COCO file, or its number (person)"
    )
    parser.add_argument("--box-score", type=_share, default=LEAST_SCORE, metavar="S",
                        help="least score of a COCO file's boxes (%(default)s)")  # fmt: skip
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--intrinsics", type=_intrinsics, metavar="fx,fy,cx,cy|FILE",
                        help="px, or a file of those of each picture; without it there is no distance")  # fmt: skip
    camera.add_argument("--focal", type=_positive, metavar="PX", help="the same for a lens centred on the picture")
    parser.add_argument(
        "--root-depth", type=_positive, metavar="MM", help="how far the hip is from the camera, along its axis"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored crops")
    parser.add_argument("--no-pictures", action="store_true", help="write poses.json and poses.csv alone")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(%(default)s)")


def _predict(options: argparse.Namespace) -> None:
    from integral_pose.predict.box_finder import BoxChoice
    from integral_pose.predict.job import PredictionJob, run_job

    model, source = _model_and_source(options)
    wanted = PeopleWanted(options.box_category, options.box_score)
    boxes = BoxChoice(tuple(options.box), options.boxes, options.whole_image, options.detector_weights,
                      options.box_form, wanted)  # fmt: skip
    done = run_job(
        PredictionJob(
            model,
            source,
            options.out,
            boxes=boxes,
            intrinsics=options.intrinsics,
            focal_px=options.focal,
            root_depth_mm=options.root_depth,
            flip=options.flip,
            device=options.device,
            with_pictures=not options.no_pictures,
        )
    )
    print(f"{done.out}: {done.num_people} people in {done.num_images} images; poses.json, poses.csv")


def _model_and_source(options: argparse.Namespace) -> tuple[Path | None, str]:
    """argparse takes a single one before an option for the source, where the other may stand behind it."""
    *model, source = [text for text in (options.model, options.source, *options.behind_options) if text is not None]
    if len(model) > 1:
        raise ConfigError(f"expected a model and a source of pictures, found {', '.join([*model, source])}")
    return (file_path(model[0]) if model else None), source


def _four(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or not all(math.isfinite(number) for number in numbers):
        raise argparse.ArgumentTypeError(f"expected four finite numbers with commas between them, found '{text}'")
    return numbers


def _intrinsics(text: str) -> tuple[float, ...] | Path:
    return file_path(text) if Path(text).suffix.lower() in (".json", ".csv") else _four(text)


def _number(text: str, words: str, is_right: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not is_right(number):
        raise argparse.ArgumentTypeError(f"expected a number {words}, found '{text}'")
    return number


_share = partial(_number, words="from 0 to 1", is_right=lambda number: 0 <= number <= 1)
_positive = partial(_number, words="above 0", is_right=lambda number: 0 < number < math.inf)
