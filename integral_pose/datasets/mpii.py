"""MPII Human Pose: the original .mat, the JSON of HRNet and its successors, and JSON in COCO's form.

The first two count pixels from 1, the last from 0.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from integral_pose.contracts import Array
from integral_pose.datasets.coco import annotated, image_names
from integral_pose.datasets.conversion import ConversionSummary, Request
from integral_pose.datasets.flat_people import (
    PIXEL_CENTRE,
    PeopleFile,
    convert_people,
    find_pictures,
    joints_of_triples,
    numbers_of,
    only_file,
)
from integral_pose.errors import DataError
from integral_pose.io.readers import read_json, read_mat
from integral_pose.io.untrusted import inside

NUM_JOINTS = 16


def convert_mpii(source: Path, request: Request) -> ConversionSummary:
    """Write the data set of a folder that holds annotations and images/. JSON counts before the .mat."""
    paths = sorted(
        path for folder in (source, source / "annot", source / "annotations") for path in folder.glob("*.json")
    )
    paths = [path for path in paths if "test" not in path.stem]  # whose joints are not published
    if any(path.stem == "train" for path in paths):
        paths = [path for path in paths if path.stem != "trainval"]
    valid = only_file([path for path in paths if path.stem == "valid"], "valid.json", source)
    train = only_file([path for path in paths if path.stem != "valid"], "of JSON to train from", source)
    files = [_read_json(path, split, source) for split, path in (("train", train), ("valid", valid)) if path]
    if not files and (mat := only_file(sorted(source.glob("*.mat")), "*.mat", source)):
        files = [_read_mat(mat, source)]
    if not files:
        raise DataError(f"{source}: has no annotations of MPII, expected annot/train.json, annot_mpii.json or the .mat")
    return convert_people(files, request, "mpii", source)


def _pictures(source: Path, names: Sequence[Any], path: Path) -> Path:
    return find_pictures(names, [source / "images", source, source.parent], path)


def _read_json(path: Path, split: str, source: Path) -> PeopleFile:
    content = read_json(path)
    return (
        _read_coco_form(content, path, split, source)
        if isinstance(content, dict)
        else _read_list(content, path, split, source)
    )


def _read_list(content: Any, path: Path, split: str, source: Path) -> PeopleFile:
    """HRNet's form: joints (16, 2) from 1, (-1, -1) with 0 in joints_vis where there is none."""
    file, wanted = PeopleFile(path, split), "a list of people with 'image', 'joints' and 'joints_vis'"
    if not isinstance(content, list) or not all(isinstance(person, dict) and "image" in person for person in content):
        raise DataError(f"{path}: expected {wanted}")
    pictures = _pictures(source, [person["image"] for person in content], path)
    for number, person in enumerate(content, start=1):
        what = f"{path}, person {number}"
        if "joints" not in person:  # of the test pictures
            file.left_out["without joints"] += 1
            continue
        numbers = numbers_of(person["joints"], (NUM_JOINTS, 2), f"{what}: 'joints'")
        visible = numbers_of(person.get("joints_vis"), (NUM_JOINTS,), f"{what}: 'joints_vis'")
        joints_px = np.where(visible[:, None] > 0, _from_one(numbers), np.nan)
        file.add(inside(pictures, str(person["image"]), path), str(number), joints_px)
    return file


def _read_coco_form(content: Any, path: Path, split: str, source: Path) -> PeopleFile:
    """Pixels from 0; any v above 0 is a label. File names may begin with the folder of the pictures."""
    file = PeopleFile(path, split)
    names = image_names(content, path)
    pictures = _pictures(source, list(names.values()), path)
    for what, name, annotation in annotated(content, names, ("keypoints",), path):
        joints_px = joints_of_triples(annotation["keypoints"], NUM_JOINTS, f"{what}: 'keypoints'")
        file.add(inside(pictures, name, path), str(annotation["id"]), joints_px)
    return file


def _read_mat(path: Path, source: Path) -> PeopleFile:
    """The original: people of training pictures with points; a point has an id from 0, and x and y from 1."""
    file = PeopleFile(path, "train")
    try:
        release = read_mat(path, as_plain=True)["RELEASE"]
        pictures, is_train = _listed(release["annolist"]), np.atleast_1d(release["img_train"])
        people = [(str(p["image"]["name"]), person) for p, train in zip(pictures, is_train, strict=True) if train
                  for person in _listed(p["annorect"])]  # fmt: skip
        folder = _pictures(source, [name for name, _ in people], path)
        for number, (name, person) in enumerate(people, start=1):
            points = _listed(person["annopoints"]["point"]) if _has_points(person) else []
            if not points:
                file.left_out["without joints"] += 1
                continue
            file.add(inside(folder, name, path), str(number), _joints_of_points(points))
        file.left_out["in test pictures"] += int((is_train == 0).sum())
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: is not as MPII's mpii_human_pose_v1_u12_1.mat ({error!r}); the JSON files of HRNet are read too"
        ) from None
    return file


def _has_points(person: dict[str, Any]) -> bool:
    points = person.get("annopoints")
    return isinstance(points, dict) and "point" in points


def _joints_of_points(points: Sequence[dict[str, Any]]) -> Array:
    joints_px = np.full((NUM_JOINTS, 2), np.nan)
    for point in points:
        joints_px[int(point["id"])] = _from_one(np.array([point["x"], point["y"]], np.float64))
    return joints_px


def _from_one(numbers: Array) -> Array:
    """Pixels counted from 1 -> their centres in px."""
    return numbers - 1 + PIXEL_CENTRE


def _listed(values: Any) -> list[Any]:
    """What MATLAB stores of one, several or no structures, as a list."""
    return (
        [values] if isinstance(values, dict) else [value for value in np.atleast_1d(values) if isinstance(value, dict)]
    )
