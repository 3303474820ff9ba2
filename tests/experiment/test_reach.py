"""Labels beyond reach of a volume: known answers, and the line that a run says of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from integral_pose.config.loading import load_config
from integral_pose.data.course import PoseTable, read_train
from integral_pose.experiment.reach import reach_notice
from integral_pose.geometry.coordinates import beyond_reach
from integral_pose.skeleton import HUMAN36M


@pytest.mark.parametrize(("cells", "reach_mm"), [(4, 825), (8, 962.5), (16, 1031.25)])
def test_how_far_a_volume_of_2200_mm_reaches(cells, reach_mm):
    at_mm = torch.tensor([[0.0, reach_mm - 0.1, 0.0], [0.0, -reach_mm - 0.1, 0.0], [0.0, 0.0, reach_mm + 0.1]])
    assert beyond_reach(at_mm / 2200, (cells, cells, cells)).tolist() == [False, True, True]


def test_each_axis_has_its_own_reach():
    """z of 2 cells reaches 0.25, y of 4 cells 0.375, x of 8 cells 0.4375."""
    joints_norm = torch.diag(torch.tensor([0.4, 0.4, 0.2]))
    assert beyond_reach(joints_norm, (2, 4, 8)).tolist() == [False, True, False]


def table_of(root, far):
    """Two poses at the hip; `far` joints of the first stand 900 mm below it and at the lower edge of the crop."""
    table = read_train(root).take(np.arange(2))
    joints_mm, crop_px = np.zeros((2, 17, 3), np.float32), np.full((2, 17, 2), 32, np.float32)
    joints_mm[0, 3 : 3 + far, 1], crop_px[0, 3 : 3 + far, 1] = 900, 63
    return PoseTable(table.images_folder, table.names, joints_mm, crop_px, skeleton=HUMAN36M)


@pytest.mark.parametrize(("override", "named"), [
    ("model.volume=metric", "a larger model.extent_mm or"), ("model.volume=image", "a larger model.depth_extent_mm"),
])  # fmt: skip
def test_the_line(course_root, tiny_yaml, override, named):
    config = load_config(str(tiny_yaml), [override]).config  # 4 cells: 825 mm, or 8 to 56 of 64 px
    line = reach_notice(config, table_of(course_root, 1))
    assert line is not None
    assert line.startswith("1 of 34 training labels (2.9%; 50.0% of RFoot) lie beyond the outermost cell centres")
    assert named in line
    assert reach_notice(config, table_of(course_root, 0)) is None


def test_more_cells_and_a_larger_extent_reach_them(course_root, tiny_yaml):
    table = table_of(course_root, 2)
    for more in (["model.extent_mm=2500"], ["model.deconv_channels=[8, 8]"], ["model.head=regression"]):
        assert reach_notice(load_config(str(tiny_yaml), more).config, table) is None
