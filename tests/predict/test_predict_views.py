"""What `predict` knows of the camera of a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from integral_pose.predict.job import PredictionJob
from integral_pose.predict.pose_model import View
from integral_pose.predict.sources import NamedPicture

PICTURE = NamedPicture("a.png", np.zeros((200, 300, 3), np.uint8))
OF_EACH = {"a.png": (1.0, 2.0, 3.0, 4.0)}


@pytest.mark.parametrize(("camera", "expected"), [
    ({}, View()),
    ({"focal_px": 500.0}, View((500.0, 500.0, 150.0, 100.0))),  # the middle of 300 x 200 px
    ({"intrinsics": (9.0, 8.0, 7.0, 6.0), "root_depth_mm": 4000.0}, View((9.0, 8.0, 7.0, 6.0), 4000.0)),
    ({"intrinsics": Path("table.csv"), "root_depth_mm": 4000.0}, View((1.0, 2.0, 3.0, 4.0), 4000.0)),
])  # fmt: skip
def test_the_view_of_a_picture(camera, expected):
    assert PredictionJob(Path("m"), "s", Path("o"), **camera).view(PICTURE, OF_EACH) == expected


def test_a_picture_that_a_table_does_not_name_has_no_camera():
    job = PredictionJob(Path("m"), "s", Path("o"), intrinsics=Path("table.csv"), root_depth_mm=4000.0)
    assert job.view(NamedPicture("b.png", PICTURE.pixels), OF_EACH) == View()
