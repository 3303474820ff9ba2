"""Boxes of people from files of every form, and the faults that such files have."""

from __future__ import annotations

import json

import numpy as np
import pytest

from integral_pose.errors import DataError
from integral_pose.predict.boxes import BoxesFile, check_boxes
from integral_pose.predict.image_tables import by_image

BOX, OTHER = [1.0, 2.0, 30.0, 40.0], [5.0, 6.0, 7.5, 8.0]


def boxes_of(file: BoxesFile, name: str, number: int | None = None):
    return by_image(file.by_name, name, number)


@pytest.fixture
def boxes_file(tmp_path):
    def write(content, name="boxes.json"):
        path = tmp_path / name
        text = content if isinstance(content, bytes | str) else json.dumps(content)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return BoxesFile(path)

    return write


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"a.jpg": [BOX, OTHER], "s/b.jpg": []}, "b.json"),
        (
            {
                "images": [{"id": 7, "file_name": "a.jpg"}],
                "annotations": [{"image_id": 7, "bbox": box} for box in (BOX, OTHER)],
            },
            "b.json",
        ),
        ([{"file_name": "a.jpg", "bbox": BOX}, {"image_id": "a.jpg", "bbox": OTHER}], "b.json"),
        ("file,x,y,w,h\na.jpg,1,2,30,40\n\na.jpg,5,6,7.5,8\n", "b.csv"),
        ("file,x,y,w,h\r\na.jpg,1,2,30,40\r\na.jpg,5,6,7.5,8\r\n".encode("utf-16"), "b.csv"),
        (json.dumps({"a.jpg": [BOX, OTHER]}).encode("utf-8-sig"), "b.json"),
        (json.dumps({"a.jpg": [BOX, OTHER]}).encode("utf-16"), "b.json"),
        ('\ufefffile,x,y,w,h\r\n"a.jpg",1,2,30,40\r\na.jpg,5,6,7.5,8\r\n', "B.CSV"),
    ],
)
def test_every_form(content, name, boxes_file):
    found = boxes_file(content, name)
    assert boxes_of(found, "a.jpg") == boxes_of(found, "sub/a.jpg") == [BOX, OTHER]
    assert boxes_of(found, "c.jpg") is None


def test_the_path_goes_before_the_file_name(boxes_file):
    found = boxes_file({"s/a.jpg": [BOX], "a.jpg": [OTHER]})
    assert (boxes_of(found, "s/a.jpg"), boxes_of(found, "t/a.jpg")) == ([BOX], [OTHER])


def test_paths_as_windows_writes_them(boxes_file):
    found = boxes_file("file,x,y,w,h\ns\\a.jpg,1,2,30,40\n", "b.csv")
    assert boxes_of(found, "s/a.jpg") == [BOX]
    assert boxes_of(found, "a.jpg") is None


@pytest.mark.parametrize(
    ("content", "name"),
    [({"3": [BOX]}, "b.json"), ([{"image_id": 3, "bbox": BOX}], "b.json"), ("frame,x,y,w,h\n03,1,2,30,40\n", "b.csv")],
)
def test_frames_by_number(content, name, boxes_file):
    found = boxes_file(content, name)
    assert boxes_of(found, "", 3) == [BOX]
    assert boxes_of(found, "", 0) is None


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("{", "b.json", "b.json: cannot be read as JSON"),
        ("[" * 100_000, "b.json", "b.json: cannot be read as JSON"),
        ("3", "b.json", "expected an object of lists of boxes or a list of annotations"),
        ("{}", "b.json", "b.json: holds no box; docs/predict.md has the forms"),
        ('{"a.jpg": 3}', "b.json", r"b.json, 'a.jpg': expected a list of boxes \[\[x, y, w, h\], ..\]"),
        (
            '{"a.jpg": [1, 2, 3, 4]}',
            "b.json",
            "b.json, 'a.jpg', box 1: expected four finite numbers x, y, w, h, .*, found 1",
        ),
        ('{"a.jpg": ["1234"]}', "b.json", "'a.jpg', box 1: expected four finite numbers"),
        ('{"a.jpg": [[1, 2, 3, true]]}', "b.json", "'a.jpg', box 1: expected four finite numbers"),
        ('{"a.jpg": [[1, 2, NaN, 4]]}', "b.json", "'a.jpg', box 1: expected four finite numbers"),
        ('{"a.jpg": [[1, 2, 1' + "0" * 400 + ", 4]]}", "b.json", "'a.jpg', box 1: expected four finite numbers"),
        ('{"a.jpg": [[1, 2, 3, 0]]}', "b.json", "'a.jpg', box 1: expected four finite numbers"),
        ('{"annotations": 3}', "b.json", "expected a list of annotations"),
        ('{"annotations": [{"bbox": [1, 2, 3, 4]}]}', "b.json", "annotation 1: has neither 'file_name' nor 'image_id'"),
        ('{"annotations": [], "images": [3]}', "b.json", "expected 'images' with 'id' and 'file_name'"),
        ("[3]", "b.json", "annotation 1: expected an object with 'bbox'"),
        ("", "b.csv", "expected the header 'file,x,y,w,h' or 'frame,x,y,w,h' or 'file,x1,y1,.*, found ''"),
        ("a,b\n", "b.csv", "expected the header 'file,x,y,w,h' or 'frame,x,y,w,h' or 'file,x1,y1,.*, found 'a,b'"),
        ("file,x,y,w,h\na.jpg,1,2,3\n", "b.csv", "b.csv, row 2: has 4 columns, expected 5"),
        ("file,x,y,w,h\na.jpg,1,2,3,x\n", "b.csv", "b.csv, row 2: expected four finite numbers"),
        ("frame,x,y,w,h\n-1,1,2,3,4\n", "b.csv", "b.csv, row 2: expected a frame number from 0, found '-1'"),
        ("file,x,y,w,h\n", "b.csv", "b.csv: holds no box"),
        ("x", "b.txt", "b.txt: boxes are read from .json or .csv files"),
    ],
)
def test_faults_are_named_with_their_place(content, name, message, boxes_file):
    with pytest.raises(DataError, match=message):
        boxes_file(content, name)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="none.json: cannot be read as JSON .*No such file"):
        BoxesFile(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[100, 0, 5, 5]], "a: the box 100,0,5,5 lies outside of the picture of 100 x 50 px"),
        ([[0, -5, 10, 5.5]], "lies outside"),
        ([[0, 0, 0, 5]], "a: the box 0,0,0,5 is less than 2 px wide or high"),
        ([[0, 0, -5, 5]], "less than 2 px"),
        ([[0, 0, float("nan"), 5]], "a: the box 0,0,nan,5 is not four finite numbers"),
        ([[0, 0, float("inf"), 5]], "not four finite numbers"),
        ([[-100, 0, 201, 5]], "is more than 2 times as large as the picture of 100 x 50 px"),
        ([[0, -50, 5, 101]], "is more than 2 times as large"),
        ([1, 2, 3, 4], r"expected boxes x, y, w, h of shape \(N, 4\), found the shape \(4,\)"),
        ([["a", 2, 3, 4]], "boxes are numbers"),
        ([[1, 2, 3], [1, 2, 3, 4]], "boxes are numbers"),
    ],
)
def test_boxes_are_of_their_picture(boxes, message):
    with pytest.raises(DataError, match=message):
        check_boxes(boxes, 100, 50, "a")


def test_boxes_may_leave_the_picture_in_part():
    found = check_boxes([[-5, -5, 10, 10], [90, 40, 20, 20]], 100, 50, "a")
    assert (found.dtype, found.shape) == (np.float64, (2, 4))
    assert check_boxes([], 100, 50, "a").shape == (0, 4)
