"""The forms that boxes come in, and whether numbers make sense in them."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from integral_pose.errors import DataError

Boxes = NDArray[np.float64]

XYWH = "xywh"
NORMALISED = "-normalised"  # by width and height of the picture
_PLAIN_FORMS = {XYWH: "x, y, w, h", "xyxy": "x1, y1, x2, y2", "cxcywh": "cx, cy, w, h"}
FORMS = (*_PLAIN_FORMS, *(form + NORMALISED for form in _PLAIN_FORMS))

SMALLEST_BOX_PX = 2.0
OVERHANG = 0.05  # sides of the picture that a box may go beyond it before another form is thought of


def as_numbers(numbers: Any) -> tuple[float, float, float, float] | None:
    """Four finite numbers, or None."""
    try:
        a, b, c, d = (float(number) for number in numbers if not isinstance(number, bool))
    except (TypeError, ValueError, OverflowError):
        return None
    is_row = isinstance(numbers, list | tuple) and all(map(math.isfinite, (a, b, c, d)))
    return (a, b, c, d) if is_row else None


def as_box(numbers: Any, form: str, place: str) -> list[float]:
    """Four finite numbers with positive sides in that form. Raises DataError naming the place."""
    box = as_numbers(numbers)
    if box is None or boxes_to_px([box], form, 1, 1)[0, 2:].min() <= 0:
        names = _PLAIN_FORMS[form.removesuffix(NORMALISED)]
        sides = "x2 > x1 and y2 > y1" if names.startswith("x1") else "w and h above 0"
        raise DataError(
            f"{place}: expected four finite numbers {names}, {sides}, found {numbers!r:.100}; "
            f"--box-form takes {', '.join(FORMS)}"
        )
    return list(box)


def boxes_to_px(boxes: ArrayLike, form: str, width_px: int, height_px: int) -> Boxes:
    """(N, 4) of a form -> (N, 4) x, y, w, h in px of the picture."""
    numbers = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    if form.endswith(NORMALISED):
        numbers *= (width_px, height_px, width_px, height_px)
    first, second = numbers[:, :2], numbers[:, 2:]
    plain = form.removesuffix(NORMALISED)
    if plain == "xyxy":
        return np.hstack([first, second - first])
    return np.hstack([first - second / 2, second]) if plain == "cxcywh" else numbers


class FormCheck:
    """Counts boxes that lie within their picture, for each form: numbers of another one give it away."""

    def __init__(self, form: str) -> None:
        self._form, self._total, self._within = form, 0, dict.fromkeys(FORMS, 0)

    def add(self, boxes: ArrayLike, width_px: int, height_px: int) -> None:
        """Boxes (N, 4), as they were given, of one picture."""
        size = np.array([width_px, height_px])
        self._total += len(np.array(boxes, dtype=np.float64).reshape(-1, 4))
        for form in FORMS:
            px = boxes_to_px(boxes, form, width_px, height_px)
            start, end = px[:, :2], px[:, :2] + px[:, 2:]
            inside = (start >= -OVERHANG * size) & (end <= (1 + OVERHANG) * size) & (px[:, 2:] >= SMALLEST_BOX_PX)
            self._within[form] += int(inside.all(-1).sum())

    @property
    def doubt(self) -> str:
        """What speaks for another form; empty where nothing does."""
        others = [form for form in FORMS if self._within[form] == self._total]
        if not others or self._form in others:
            return ""
        return (
            f"read as {self._form}, {self._total - self._within[self._form]} of {self._total} boxes are tiny or leave "
            f"the picture; all lie within it as {' or as '.join(others)}: see --box-form"
        )
