"""Intrinsics of each picture, from a file."""

from pathlib import Path
from typing import Any

from integral_pose.errors import DataError
from integral_pose.io.readers import read_json
from integral_pose.predict.box_forms import as_numbers
from integral_pose.predict.image_tables import LARGEST_FILE_BYTES, csv_rows, same_spelling

Intrinsics = tuple[float, float, float, float]


def read_intrinsics(path: Path) -> dict[str, Intrinsics]:
    """fx, fy, cx, cy in px by image name or frame number: {"a.jpg": [fx, fy, cx, cy]}, or CSV file,fx,fy,cx,cy.

    Raises DataError.
    """
    entries: list[tuple[str, Any, str]]
    if path.suffix.lower() == ".csv":
        entries = [row[:3] for row in csv_rows(path, ("fx,fy,cx,cy",))]
    else:
        content = read_json(path, LARGEST_FILE_BYTES)
        if not isinstance(content, dict):
            raise DataError(f'{path}: expected an object like {{"a.jpg": [fx, fy, cx, cy]}}')
        entries = [(name, numbers, repr(name)) for name, numbers in content.items()]
    found: dict[str, Intrinsics] = {}
    for name, numbers, place in entries:
        four = as_numbers(numbers)
        if four is None or min(four[:2]) <= 0:
            raise DataError(
                f"{path}, {place:.100}: expected fx, fy, cx, cy in px, fx and fy above 0, found {numbers!r:.100}"
            )
        if found.setdefault(same_spelling(name), four) != four:
            raise DataError(f"{path}, {place:.100}: this picture has other intrinsics further up")
    return found
