"""`prepare coco` and `prepare mpii`: every labelled pixel at its own centre, and who is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from integral_pose.cli.main import main
from integral_pose.data.course import PoseTable, read_train
from integral_pose.datasets.coco import convert_coco
from integral_pose.datasets.conversion import Request
from integral_pose.datasets.mpii import convert_mpii
from integral_pose.errors import ConfigError, DataError
from integral_pose.io.images import read_picture

Written = tuple[PoseTable, Path, list[str]]
WIDTH, HEIGHT = 60, 80


def pixels(num_joints: int) -> np.ndarray:
    """(J, 2) x and y of pixels, counted from 0, no two of them neighbours."""
    return np.array([[10 + 9 * (i % 4), 12 + 13 * (i // 4)] for i in range(num_joints)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder whose picture a.png is black but for the pixels above."""
    (tmp_path / "source/images").mkdir(parents=True)
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    x, y = pixels(17).T
    picture[y, x] = 255
    Image.fromarray(picture).save(tmp_path / "source/images/a.png")
    return tmp_path / "source"


@pytest.fixture
def converted(source: Path, tmp_path: Path) -> Callable[..., Written]:
    """A function that converts the source: the table, the set's folder, what was said."""

    def convert(converter: Callable[..., Any], **options: Any) -> Written:
        root = tmp_path / "set"
        summary = converter(source, Request(root, "here", show_progress=False, **options))
        return read_train(root), root, summary.notes

    return convert


def coco_person(**changes: Any) -> dict[str, Any]:
    keypoints = [[int(x), int(y), 1 + i % 2] for i, (x, y) in enumerate(pixels(17))]
    person = {"id": 7, "image_id": 3, "category_id": 1, "iscrowd": 0, "bbox": [9.5, 11.0, 30.0, 60.0]}
    return {**person, "keypoints": [number for triple in keypoints for number in triple], **changes}


def write_coco(source: Path, *people: dict[str, Any], name: str = "person_keypoints_train2017.json") -> None:
    content = {"images": [{"id": 3, "file_name": "a.png"}], "annotations": list(people)}
    (source / name).write_text(json.dumps(content))


def write_list(source: Path, *people: dict[str, Any], name: str = "train.json") -> None:
    (source / "annot").mkdir(exist_ok=True)
    (source / "annot" / name).write_text(json.dumps(list(people)))


def listed_person(**changes: Any) -> dict[str, Any]:
    joints = (pixels(16) + 1.0).tolist()
    return {"image": "a.png", "joints": joints, "joints_vis": [1] * 16, "center": [30, 40], "scale": 0.4, **changes}


def write_mat(source: Path) -> None:
    """Someone with 15 points, someone without any, a test picture; fields as in the original."""
    points = [{"x": float(x + 1), "y": float(y + 1), "id": i, "is_visible": i % 2}
              for i, (x, y) in enumerate(pixels(15))]  # fmt: skip
    person, nobody = {"annopoints": {"point": points}, "scale": 1.0}, {"annopoints": np.array([]), "scale": 1.0}
    pictures = [{"image": {"name": "a.png"}, "annorect": np.array([person, nobody])},
                {"image": {"name": "test.png"}, "annorect": {"scale": 1.0}}]  # fmt: skip
    savemat(source / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": {"annolist": pictures, "img_train": [1, 0]}})


def bright_places(root: Path, crop_px: np.ndarray) -> np.ndarray:
    """(J, 2) centre of the light in the crop round each label, whose neighbours are at least eight pixels away."""
    crop = read_picture(next((root / "images").iterdir())).astype(float).mean(-1)
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]] + 0.5
    found = []
    for joint in crop_px:
        light = np.where(np.hypot(x - joint[0], y - joint[1]) < 14, crop, 0) ** 2
        found.append([(light * x).sum() / light.sum(), (light * y).sum() / light.sum()])
    return np.array(found)


def write_coco_form_of_mpii(source: Path) -> None:
    keypoints = [number for x, y in pixels(16).tolist() for number in (x, y, 2)]
    content = {"images": [{"id": 1, "file_name": "images/a.png"}], "annotations": [{"image_id": 1, "id": 1,
               "keypoints": keypoints, "bbox": [0, 0, 1, 1]}]}  # fmt: skip
    (source / "annot_mpii.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("write", "converter", "joints"),
    [
        (lambda source: write_coco(source, coco_person()), convert_coco, 17),
        (lambda source: write_list(source, listed_person()), convert_mpii, 16),
        (write_coco_form_of_mpii, convert_mpii, 16),
        (write_mat, convert_mpii, 15),
    ],
    ids=["coco", "mpii from 1", "mpii in COCO's form", "mpii .mat"],
)
def test_a_labelled_pixel_is_found_at_its_own_centre(write, converter, joints, source, converted):
    write(source)
    table, root, _ = converted(converter)
    crop_px = table.joints_crop_px[0, :joints]
    assert np.isfinite(crop_px).all()
    assert len(table) == 1
    with h5py.File(root / "annot/train.h5") as file:
        assert set(file) == {"pose2d", "visible", "crop_to_image"}
        scale = file["crop_to_image"][0, 2]
    assert 0.15 < scale < 0.3  # so a pixel of the picture is some five of the crop
    np.testing.assert_allclose(bright_places(root, crop_px), crop_px, atol=0.25)
    assert np.isnan(table.joints_camera_mm).all()


def test_what_has_no_label_says_so(source, converted):
    """v of 1 and 2 are labels, 0 is none, whatever is written in its place."""
    keypoints = coco_person()["keypoints"]
    keypoints[3 * 4 : 3 * 5] = [0, 0, 0]
    keypoints[3 * 6 : 3 * 7] = [33, 20, 0]
    write_coco(source, coco_person(keypoints=keypoints))
    table, root, _ = converted(convert_coco)
    with h5py.File(root / "annot/train.h5") as file:
        assert file["visible"].dtype == np.uint8
        assert np.flatnonzero(file["visible"][0] == 0).tolist() == [4, 6]
    assert np.flatnonzero(np.isnan(table.joints_crop_px[0]).any(-1)).tolist() == [4, 6]


def test_who_is_left_out_of_coco_is_counted(source, converted):
    nothing = [0] * 51
    people = [coco_person(), coco_person(id=8, iscrowd=1), coco_person(id=9, keypoints=nothing, num_keypoints=0),
              coco_person(id=10, bbox=[9, 9, 0, 5]), coco_person(id=11, category_id=2)]  # fmt: skip
    write_coco(source, *people)
    table, _, notes = converted(convert_coco)
    assert table.name(0) == "a_7.jpg"
    (note,) = notes
    assert note.endswith(
        "1 of 5 people; left out: 1 crowds, 1 with fewer than 2 joints, 1 with an empty box, 1 of other categories"
    )


def test_who_is_left_out_of_mpii_is_counted(source, converted):
    missing = listed_person(joints=[[-1.0, -1.0]] * 16, joints_vis=[0] * 16)
    unpublished = {"image": "a.png", "center": [1, 1], "scale": 1}
    write_list(source, listed_person(), missing, unpublished)
    assert converted(convert_mpii)[2][0].endswith(
        "1 of 3 people; left out: 1 with fewer than 2 joints, 1 without joints"
    )


def test_the_original_counts_people_without_points_and_test_pictures(source, converted):
    write_mat(source)
    assert converted(convert_mpii)[2][0].endswith("1 of 3 people; left out: 1 without joints, 1 in test pictures")


def test_a_joint_of_mpii_at_minus_one_is_no_label_even_in_the_corner(source, converted):
    joints = (pixels(16) + 1.0).tolist()
    joints[0] = [-1.0, -1.0]
    write_list(source, listed_person(joints=joints, joints_vis=[0] + [1] * 15))
    table = converted(convert_mpii)[0]
    assert np.isnan(table.joints_crop_px[0, 0]).all()
    assert np.isfinite(table.joints_crop_px[0, 1:]).all()


def test_splits_and_what_the_set_says_of_its_joints(source, converted):
    write_coco(source, coco_person(), coco_person(id=8))
    write_coco(source, coco_person(id=9), name="person_keypoints_val2017.json")
    table, root, notes = converted(convert_coco, layout="packed")
    assert (len(table), len(notes)) == (2, 2)
    assert (root / "annot/valid_images.txt").read_text() == "a_9.jpg\n"
    assert table.skeleton.names[:2] == ("nose", "left_eye")
    assert "left_hip: {LHip: 1}" in (root / "annot/joints_from_network.yaml").read_text()


def test_labels_are_of_the_pixels_as_they_are_stored(source, converted):
    """A JPEG that is to be turned by its metadata is not, as in the projects that made the labels."""
    picture = Image.open(source / "images/a.png").convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(source / "images/a.jpg", quality=95, subsampling=0, exif=exif)
    write_list(source, listed_person(image="a.jpg"))
    table, root, _ = converted(convert_mpii)
    np.testing.assert_allclose(bright_places(root, table.joints_crop_px[0]), table.joints_crop_px[0], atol=0.4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": [1] * 50}, "annotation 1: 'keypoints' is .*, expected 51 numbers"),
        ({"keypoints": ["x"] * 51}, "annotation 1: 'keypoints' is .*, expected 51 numbers"),
        ({"keypoints": [float("nan")] * 51}, "annotation 1: 'keypoints' is .*, expected 51 numbers"),
        ({"bbox": None}, "annotation 1: 'bbox' is None, expected 4 numbers"),
        ({"image_id": 4}, "annotation 1: there is no image 4 in 'images'"),
        ({"id": [1]}, "entry 1 of 'annotations' has no 'id' that can be used"),
    ],
)
def test_faults_of_coco(changes, message, source, converted):
    write_coco(source, coco_person(**changes))
    with pytest.raises(DataError, match=message):
        converted(convert_coco)


def test_faults_of_mpii(source, converted):
    with pytest.raises(DataError, match="has no annotations of MPII, expected annot/train.json"):
        converted(convert_mpii)
    write_list(source, listed_person(joints=[[1, 2]] * 15))
    with pytest.raises(DataError, match="person 1: 'joints' is .*, expected 16 x 2 numbers"):
        converted(convert_mpii)
    write_list(source, {"joints": []})
    with pytest.raises(DataError, match="expected a list of people with 'image'"):
        converted(convert_mpii)
    write_list(source, listed_person(image="../a.png"))
    with pytest.raises(DataError, match="leaves the images folder"):
        converted(convert_mpii)
    write_list(source, listed_person(image="b.png"))
    with pytest.raises(DataError, match=r"the picture \['b.png'\] is in none of"):
        converted(convert_mpii)
    (source / "annot/train.json").unlink()
    savemat(source / "other.mat", {"RELEASE": {"annolist": 3}})
    with pytest.raises(DataError, match="other.mat: is not as MPII's"):
        converted(convert_mpii)


def test_crops_in_mm_are_refused_and_nobody_is_an_error(source, converted):
    write_coco(source, coco_person())
    with pytest.raises(ConfigError, match="--crop metric needs depths, which 2D labels .*; known: c2f, tight, posenet"):
        converted(convert_coco, crop="metric")
    write_coco(source, coco_person(iscrowd=1))
    with pytest.raises(DataError, match="0 of 1 people; left out: 1 crowds"):
        converted(convert_coco)


def test_on_the_command_line(source, tmp_path, capsys):
    write_coco(source, coco_person(), coco_person(id=8, iscrowd=1))
    assert main(["prepare", "coco", "--source", str(source), "--out", str(tmp_path / "set"), "--workers", "1"]) == 0
    assert "1 of 2 people; left out: 1 crowds" in capsys.readouterr().out
    sheet = tmp_path / "sheet.png"
    assert main(["check-data", str(tmp_path / "set"), "--workers", "1", "--out", str(sheet)]) == 0
    assert "13 of 17; not left_eye, right_eye, left_ear, right_ear" in capsys.readouterr().out
