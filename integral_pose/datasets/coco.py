"""COCO's people with joints: person_keypoints_train2017.json, person_keypoints_val2017.json and their pictures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from integral_pose.datasets.conversion import ConversionSummary, Request
from integral_pose.datasets.flat_people import (
    PeopleFile,
    convert_people,
    find_pictures,
    joints_of_triples,
    numbers_of,
    only_file,
)
from integral_pose.errors import DataError
from integral_pose.io.readers import read_json
from integral_pose.io.untrusted import inside

FILES = "person_keypoints*.json"
NUM_JOINTS = 17
PERSON = 1  # the category


def convert_coco(source: Path, request: Request) -> ConversionSummary:
    """Write the data set of a folder that holds annotations/ and the pictures."""
    paths = sorted(source.rglob(FILES))
    of_split = {
        split: [path for path in paths if ("val" in path.stem) == (split == "valid")] for split in ("train", "valid")
    }
    found = [(split, only_file(own, FILES, source)) for split, own in of_split.items()]
    files = [_read(path, split, source) for split, path in found if path is not None]
    if not files:
        raise DataError(f"{source}: has no file {FILES}, as COCO's annotations of people's joints are called")
    return convert_people(files, request, "coco", source)


def _read(path: Path, split: str, source: Path) -> PeopleFile:
    file, content = PeopleFile(path, split), read_json(path)
    names = image_names(content, path)
    part = path.stem.removeprefix("person_keypoints_")
    folders = [source / "images" / part, source / part, source / "images", source]
    pictures = find_pictures(list(names.values()), folders, path)
    for what, name, annotation in annotated(content, names, ("bbox", "keypoints"), path):
        box_px = numbers_of(annotation["bbox"], (4,), f"{what}: 'bbox'")
        joints_px = joints_of_triples(annotation["keypoints"], NUM_JOINTS, f"{what}: 'keypoints'")
        if annotation.get("category_id", PERSON) != PERSON:
            file.left_out["of other categories"] += 1
        elif annotation.get("iscrowd"):
            file.left_out["crowds"] += 1
        elif box_px[2:].min() <= 0:
            file.left_out["with an empty box"] += 1
        else:
            file.add(inside(pictures, name, path), str(annotation["id"]), joints_px, box_px.tolist())
    return file


def image_names(content: Any, path: Path) -> dict[Any, str]:
    """File names by the images' ids."""
    return {image["id"]: str(image["file_name"]) for image in entries(content, "images", ("id", "file_name"), path)}


def annotated(
    content: Any, names: Mapping[Any, str], needed: tuple[str, ...], path: Path
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Words for messages, the image's name and the annotation, which has an id (its number where the file has none)."""
    for number, annotation in enumerate(entries(content, "annotations", ("image_id", *needed), path), start=1):
        what = f"{path}, annotation {number}"
        if annotation["image_id"] not in names:
            raise DataError(f"{what}: there is no image {annotation['image_id']!r:.40} in 'images'")
        yield what, names[annotation["image_id"]], {"id": number, **annotation}


def entries(content: Any, key: str, needed: tuple[str, ...], path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a list of COCO's. Raises DataError where one is no object or lacks what is needed."""
    listed = content.get(key) if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise DataError(f"{path}: has no list '{key}', as COCO's files have")
    for number, entry in enumerate(listed, start=1):
        missing = [name for name in needed if not isinstance(entry, dict) or name not in entry]
        if missing or not isinstance(entry.get("id", number), int | str):
            raise DataError(f"{path}: entry {number} of '{key}' has no '{(missing or ['id'])[0]}' that can be used")
        yield entry
