"""Boxes of people, x, y, w, h in px of the upright picture: from files, from the command line, checked."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from integral_pose.errors import DataError
from integral_pose.io.readers import read_json
from integral_pose.predict.box_forms import SMALLEST_BOX_PX, XYWH, Boxes, as_box
from integral_pose.predict.coco_people import PeopleWanted, coco_boxes
from integral_pose.predict.image_tables import LARGEST_FILE_BYTES, csv_rows, same_spelling

LARGEST_BOX = 2.0  # sides over those of the picture: far beyond it there is nothing to see

FORM_OF_COLUMNS = {"x,y,w,h": XYWH, "x1,y1,x2,y2": "xyxy", "cx,cy,w,h": "cxcywh"}


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

    def __init__(self, path: Path, form: str = XYWH, wanted: PeopleWanted | None = None) -> None:
        self.path, self.form = path, form
        self.by_name: dict[str, list[list[float]]] = {}
        if path.suffix.lower() not in (".json", ".csv"):
            raise DataError(f"{path}: boxes are read from .json or .csv files")
        is_json = path.suffix.lower() == ".json"
        for name, numbers, place in _json_boxes(path, wanted or PeopleWanted()) if is_json else self._csv_boxes():
            self.by_name.setdefault(same_spelling(name), []).append(as_box(numbers, self.form, f"{path}, {place}"))
        if not self.by_name:
            raise DataError(f"{path}: holds no box; docs/predict.md has the forms")

    def _csv_boxes(self) -> Iterator[tuple[str, Any, str]]:
        for name, numbers, place, columns in csv_rows(self.path, tuple(FORM_OF_COLUMNS)):
            named = FORM_OF_COLUMNS[columns]
            if not self.form.startswith(named):
                if self.form != XYWH:
                    raise DataError(f"{self.path}: its columns are {columns}, --box-form says {self.form}")
                self.form = named
            yield name, numbers, place


def _json_boxes(path: Path, wanted: PeopleWanted) -> Iterator[tuple[str, Any, str]]:
    """Triples of name, numbers, place in the file."""
    content = read_json(path, LARGEST_FILE_BYTES)
    if isinstance(content, list) or (isinstance(content, dict) and "annotations" in content):
        yield from coco_boxes(content, wanted, path)
    elif isinstance(content, dict):
        for name, boxes in content.items():
            if not isinstance(boxes, list):
                raise DataError(f"{path}, {name!r:.100}: expected a list of boxes [[x, y, w, h], ..]")
            yield from ((name, box, f"{name!r:.100}, box {number}") for number, box in enumerate(boxes, start=1))
    else:
        raise DataError(f"{path}: expected an object of lists of boxes or a list of annotations")
