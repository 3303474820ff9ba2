"""Which annotations of a COCO file, or of a detector's results, are people to look at."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from integral_pose.errors import DataError
from integral_pose.io.notices import notify

COCO_PERSON = 1  # where a list of results names no categories
LEAST_SCORE = 0.5


class PeopleWanted(NamedTuple):
    """What an annotation must be to count."""

    category: str = "person"  # or its number
    least_score: float = LEAST_SCORE


def coco_boxes(content: Any, wanted: PeopleWanted, path: Path) -> Iterator[tuple[str, Any, str]]:
    """Triples of name, numbers, place in the file; what is passed over is counted and said. Raises DataError."""
    whole = content if isinstance(content, dict) else {"annotations": content}
    annotations, names = whole["annotations"], _by_id(whole.get("images", []), "images", "file_name", path)
    if not isinstance(annotations, list):
        raise DataError(f"{path}: expected a list of annotations")
    for number, annotation in enumerate(annotations, start=1):
        if not isinstance(annotation, dict) or "bbox" not in annotation:
            raise DataError(
                f"{path}, annotation {number}: expected an object with 'bbox' and 'image_id' or 'file_name'"
            )
        if not isinstance(annotation.get("category_id"), int | str | None):
            raise DataError(f"{path}, annotation {number}: expected a number or a name for 'category_id'")
    ids = _category_ids(annotations, whole.get("categories", []), wanted.category, path)
    dropped = dict.fromkeys((f"of other categories than {wanted.category}", "crowds", "of lower scores"), 0)
    for number, annotation in enumerate(annotations, start=1):
        tests = (
            annotation.get("category_id") not in ids,
            bool(annotation.get("iscrowd")),
            _score(annotation, f"{path}, annotation {number}") < wanted.least_score,
        )
        if any(tests):
            dropped[list(dropped)[tests.index(True)]] += 1
            continue
        yield _image_name(annotation, names, path, number), annotation["bbox"], f"annotation {number}"
    if any(dropped.values()):
        counts = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count)
        left = len(annotations) - sum(dropped.values())
        notify(f"{path}: {left} of {len(annotations)} boxes are used; left out: {counts} (least: {wanted.least_score})")


def _by_id(entries: Any, what: str, field: str, path: Path) -> dict[Any, str]:
    try:
        return {entry["id"]: str(entry[field]) for entry in entries}
    except (TypeError, KeyError):
        raise DataError(f"{path}: expected '{what}' with 'id' and '{field}' each, as COCO has them") from None


def _image_name(annotation: dict[str, Any], names: dict[Any, str], path: Path, number: int) -> str:
    image = annotation.get("image_id")
    name = annotation.get("file_name", names.get(image, image) if isinstance(image, int | str) else None)
    if not isinstance(name, int | str):
        raise DataError(f"{path}, annotation {number}: has neither 'file_name' nor 'image_id'")
    return str(name)


def _category_ids(annotations: list[dict[str, Any]], categories: Any, wanted: str, path: Path) -> set[Any]:
    """The `category_id`s that count; None, for annotations without one, always does. Raises DataError."""
    found = _by_id(categories, "categories", "name", path)
    used = {annotation.get("category_id") for annotation in annotations} - {None}
    ids = {number for number, name in found.items() if wanted.lower() in (name.lower(), str(number))}
    if not found:
        ids = {number for number in used if str(number) == (str(COCO_PERSON) if wanted == "person" else wanted)}
    if used and not ids & used:
        known = ", ".join(f"{number} ({found[number]})" if number in found else str(number) for number in used)
        raise DataError(
            f"{path}: has no box of the category {wanted}; found {known:.300}; choose one with --box-category"
        )
    return ids | {None}


def _score(annotation: dict[str, Any], place: str) -> float:
    """Of a detector; annotations of people have none and are sure."""
    try:
        return float(annotation.get("score", 1.0))
    except (TypeError, ValueError):
        raise DataError(f"{place}: expected a number for 'score', found {annotation['score']!r:.100}") from None
