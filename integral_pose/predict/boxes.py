"""Boxes of people, x, y, w, h in px of the upright picture: from files, from the command line, checked."""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from integral_pose.errors import DataError
from integral_pose.io.readers import read_json
from integral_pose.io.untrusted import read_regular

Boxes = NDArray[np.float64]

SMALLEST_BOX_PX = 2.0
LARGEST_BOX = 2.0  # sides over those of the picture: far beyond it there is nothing to see
LARGEST_FILE_BYTES = 200_000_000


def check_boxes(boxes: ArrayLike, width_px: int, height_px: int, source: str) -> Boxes:
    """(N, 4) x, y, w, h as float64. Raises DataError, naming `source`, for a box that is none of that picture."""
    try:
        found = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{source}: boxes are numbers x, y, w, h (N, 4), found {boxes!r:.100}") from None
    if found.size == 0:
        return np.empty((0, 4))
    if found.ndim != 2 or found.shape[1] != 4:
        raise DataError(f"{source}: expected boxes x, y, w, h of shape (N, 4), found the shape {found.shape}")
    for x, y, width, height in found.tolist():
        box = f"{source}: the box {x:g},{y:g},{width:g},{height:g}"
        if not all(math.isfinite(number) for number in (x, y, width, height)):
            raise DataError(f"{box} is not four finite numbers x,y,w,h")
        if min(width, height) < SMALLEST_BOX_PX:
            raise DataError(f"{box} is less than {SMALLEST_BOX_PX:g} px wide or high; expected x,y,w,h")
        size = f"the picture of {width_px} x {height_px} px"
        if min(x + width, width_px) - max(x, 0) < 1 or min(y + height, height_px) - max(y, 0) < 1:
            raise DataError(f"{box} lies outside of {size}; boxes are x,y,w,h in px of the upright picture")
        if width > LARGEST_BOX * width_px or height > LARGEST_BOX * height_px:
            raise DataError(f"{box} is more than {LARGEST_BOX:g} times as large as {size}")
    return found


def whole_picture(width_px: int, height_px: int) -> Boxes:
    """(1, 4): one box that is the picture."""
    return np.array([[0.0, 0.0, width_px, height_px]])


class BoxesFile:
    """Boxes by image name or frame number, from a .json or .csv file of one of the forms in docs/predict.md.

    Raises DataError, naming the file and the place in it, where it has none of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.by_name: dict[str, list[list[float]]] = {}
        if path.suffix.lower() not in (".json", ".csv"):
            raise DataError(f"{path}: boxes are read from .json or .csv files")
        for name, numbers, place in (_json_boxes if path.suffix.lower() == ".json" else _csv_boxes)(path):
            self.by_name.setdefault(name, []).append(_box(numbers, f"{path}, {place}"))
        if not self.by_name:
            raise DataError(f"{path}: holds no box; docs/predict.md has the forms")

    def of_image(self, name: str) -> list[list[float]] | None:
        """Those of an image by its path within the folder, else by its file name; None where there are none."""
        return self.by_name.get(name, self.by_name.get(name.rpartition("/")[2]))

    def of_frame(self, number: int) -> list[list[float]] | None:
        """Those of a video's frame, counted from 0."""
        return self.by_name.get(str(number))


def _json_boxes(path: Path) -> Iterator[tuple[str, Any, str]]:
    """Triples of name, numbers, place in the file."""
    content = read_json(path, LARGEST_FILE_BYTES)
    if isinstance(content, dict) and "annotations" in content:
        yield from _coco_boxes(content["annotations"], _coco_names(content.get("images", []), path), path)
    elif isinstance(content, list):
        yield from _coco_boxes(content, {}, path)
    elif isinstance(content, dict):
        for name, boxes in content.items():
            if not isinstance(boxes, list):
                raise DataError(f"{path}, {name!r:.100}: expected a list of boxes [[x, y, w, h], ..]")
            yield from ((name, box, f"{name!r:.100}, box {number}") for number, box in enumerate(boxes, start=1))
    else:
        raise DataError(f"{path}: expected an object of lists of boxes or a list of annotations")


def _coco_names(images: Any, path: Path) -> dict[Any, str]:
    try:
        return {image["id"]: str(image["file_name"]) for image in images}
    except (TypeError, KeyError):
        raise DataError(f"{path}: expected 'images' with 'id' and 'file_name' each, as COCO has them") from None


def _coco_boxes(annotations: Any, names: dict[Any, str], path: Path) -> Iterator[tuple[str, Any, str]]:
    if not isinstance(annotations, list):
        raise DataError(f"{path}: expected a list of annotations")
    for number, annotation in enumerate(annotations, start=1):
        place = f"annotation {number}"
        if not isinstance(annotation, dict) or "bbox" not in annotation:
            raise DataError(f"{path}, {place}: expected an object with 'bbox' and 'image_id' or 'file_name'")
        image = annotation.get("image_id")
        name = annotation.get("file_name", names.get(image, image) if isinstance(image, int | str) else None)
        if not isinstance(name, int | str):
            raise DataError(f"{path}, {place}: has neither 'file_name' nor 'image_id'")
        yield str(name), annotation["bbox"], place


def _csv_boxes(path: Path) -> Iterator[tuple[str, Any, str]]:
    try:
        text = read_regular(path, LARGEST_FILE_BYTES).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if header not in (["file", "x", "y", "w", "h"], ["frame", "x", "y", "w", "h"]):
        raise DataError(
            f"{path}: expected the header 'file,x,y,w,h' or 'frame,x,y,w,h', found {','.join(header)!r:.100}"
        )
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{path}, row {number}: has {len(row)} columns, expected {len(header)}")
        name = row[0].strip()
        if header[0] == "frame" and not name.isdecimal():
            raise DataError(f"{path}, row {number}: expected a frame number from 0, found {row[0]!r:.100}")
        yield str(int(name)) if header[0] == "frame" else name, row[1:], f"row {number}"


def _box(numbers: Any, place: str) -> list[float]:
    """Four finite numbers with positive sides. Raises DataError naming the place."""
    try:
        box = [float(number) for number in numbers if not isinstance(number, bool)]
    except (TypeError, ValueError, OverflowError):
        box = []
    if not isinstance(numbers, list) or len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
        raise DataError(f"{place}: expected four finite numbers x, y, w, h, w and h above 0, found {numbers!r:.100}")
    return box
