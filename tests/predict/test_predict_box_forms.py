"""Boxes as other projects write them: forms, people of a COCO file, and intrinsics of each picture."""

from __future__ import annotations

import json

import numpy as np
import pytest

from integral_pose.errors import DataError
from integral_pose.predict.box_forms import FORMS, FormCheck, as_box, boxes_to_px
from integral_pose.predict.boxes import BoxesFile
from integral_pose.predict.coco_people import PeopleWanted
from integral_pose.predict.intrinsics_file import read_intrinsics

SIZE = (200, 100)
SAME_BOX = {
    "xywh": [20, 10, 40, 60],
    "xyxy": [20, 10, 60, 70],
    "cxcywh": [40, 40, 40, 60],
    "xywh-normalised": [0.1, 0.1, 0.2, 0.6],
    "xyxy-normalised": [0.1, 0.1, 0.3, 0.7],
    "cxcywh-normalised": [0.2, 0.4, 0.2, 0.6],
}


@pytest.mark.parametrize("form", FORMS)
def test_one_box_in_every_form(form):
    np.testing.assert_allclose(boxes_to_px([SAME_BOX[form]], form, *SIZE), [[20, 10, 40, 60]], atol=1e-12)


@pytest.mark.parametrize(
    ("boxes", "said", "meant"),
    [
        ([[20, 10, 60, 70], [150, 20, 190, 90]], "xywh", "xyxy"),
        ([[170, 60, 50, 70]], "xywh", "cxcywh"),
        ([[0.2, 0.1, 0.25, 0.7]], "xywh", "xywh-normalised"),
        ([[20, 10, 40, 60], [100, 20, 30, 60]], "xyxy", "xywh"),
        ([[0.1, 0.1, 0.2, 0.6]], "cxcywh", "xywh-normalised"),
    ],
)
def test_numbers_of_another_form_are_noticed(boxes, said, meant):
    check = FormCheck(said)
    check.add(boxes, *SIZE)
    assert meant in check.doubt
    assert f"read as {said}" in check.doubt


@pytest.mark.parametrize("boxes", [[[20, 10, 40, 60]], [[-5, -3, 210, 106]], [[-60, -30, 300, 160]], []])
def test_boxes_that_fit_their_form_or_no_form_at_all_are_not_doubted(boxes):
    check = FormCheck("xywh")
    check.add(boxes, *SIZE)
    assert check.doubt == ""


def test_sides_that_are_not_positive_in_the_form_that_was_said():
    with pytest.raises(DataError, match=r"a: expected .* x1, y1, x2, y2, x2 > x1 .* --box-form takes xywh"):
        as_box([20, 10, 10, 70], "xyxy", "a")


@pytest.mark.parametrize(
    ("header", "form"), [("file,x1,y1,x2,y2", "xyxy"), ("file,cx,cy,w,h", "cxcywh"), ("file,x,y,w,h", "xywh")]
)
def test_the_columns_of_a_table_name_its_form(header, form, tmp_path):
    path = tmp_path / "b.csv"
    path.write_text(f"{header}\na.jpg,{','.join(map(str, SAME_BOX[form]))}\n")
    assert BoxesFile(path).form == form
    with pytest.raises(DataError, match="its columns are .*, --box-form says"):
        BoxesFile(path, "xyxy" if form == "cxcywh" else "cxcywh-normalised" if form == "xyxy" else "xyxy")


def annotation(**more):
    return {"image_id": 1, "file_name": "a.jpg", "bbox": [20, 10, 40, 60], **more}


PERSON, DOG = annotation(category_id=1, iscrowd=0), annotation(category_id=18, bbox=[1, 2, 3, 4])
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]


def used(tmp_path, content, wanted=None):
    path = tmp_path / "b.json"
    path.write_text(json.dumps(content))
    return BoxesFile(path, wanted=wanted).by_name["a.jpg"]


def test_only_sure_people_and_no_crowds_and_each_count_is_said(tmp_path, capsys):
    crowd, unsure = annotation(category_id=1, iscrowd=1), annotation(category_id=1, score=0.03)
    assert used(tmp_path, [PERSON, DOG, crowd, unsure]) == [[20, 10, 40, 60]]
    assert "1 of 4 boxes are used; left out: 1 of other categories than person, 1 crowds, 1 of lower" in (
        capsys.readouterr().err
    )
    labels = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [PERSON, DOG], "categories": CATEGORIES}
    assert used(tmp_path, labels) == [[20, 10, 40, 60]]
    assert used(tmp_path, labels, PeopleWanted("dog")) == used(tmp_path, labels, PeopleWanted("18")) == [[1, 2, 3, 4]]


def test_annotations_without_category_and_score_are_people(tmp_path, capsys):
    assert used(tmp_path, [annotation()]) == [[20, 10, 40, 60]]
    assert used(tmp_path, {"annotations": [annotation()], "categories": CATEGORIES}) == [[20, 10, 40, 60]]
    assert capsys.readouterr().err == ""


def test_scores_may_be_asked_to_be_lower(tmp_path):
    assert used(tmp_path, [annotation(category_id=1, score=0.3)], PeopleWanted(least_score=0.2)) == [[20, 10, 40, 60]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([annotation(category_id=0)], "no box of the category person; found 0; choose one with --box-category"),
        ({"annotations": [DOG], "categories": CATEGORIES}, r"category person; found 18 \(dog\)"),
        ([annotation(category_id=1, score="high")], "annotation 1: expected a number for 'score', found 'high'"),
        ([annotation(category_id=[1])], "annotation 1: expected a number or a name for 'category_id'"),
        ({"annotations": [PERSON], "categories": [3]}, "expected 'categories' with 'id' and 'name'"),
    ],
)
def test_faults_of_coco_files(content, message, tmp_path):
    with pytest.raises(DataError, match=message):
        used(tmp_path, content)


def test_intrinsics_of_each_picture(tmp_path):
    table, content = tmp_path / "i.csv", tmp_path / "i.json"
    table.write_text("file,fx,fy,cx,cy\na.jpg,1000,1001,50,60\nb.jpg,2000,2001,70,80\n")
    content.write_text(json.dumps({"a.jpg": [1000, 1001, 50, 60], "b.jpg": [2000, 2001, 70, 80]}))
    assert (
        read_intrinsics(table)
        == read_intrinsics(content)
        == {
            "a.jpg": (1000, 1001, 50, 60),
            "b.jpg": (2000, 2001, 70, 80),
        }
    )
    content.write_text(json.dumps({"a.jpg": [0, 1001, 50, 60]}))
    with pytest.raises(DataError, match="'a.jpg': expected fx, fy, cx, cy in px, fx and fy above 0"):
        read_intrinsics(content)
