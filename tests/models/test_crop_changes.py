"""Moved and resized crops: pixels by hand, and views that lift what is found in them to the same place."""

from __future__ import annotations

import pytest
import torch

from integral_pose.config.schema import EvaluationConfig
from integral_pose.contracts import CropViews
from integral_pose.geometry.coordinates import ImageVolume, MetricVolume
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.models.crop_changes import (
    NUMBERS_OF_CROPS,
    UNCHANGED,
    CropChange,
    change_crop,
    crop_changes,
)
from integral_pose.models.predictor import Predictor
from integral_pose.skeleton import Skeleton

HEIGHT, WIDTH = 64, 96
TWO = Skeleton(("Hip", "Hand"), {"Hand": "Hip"}, ())


def test_the_numbers_of_crops():
    assert crop_changes(1) == (UNCHANGED,)
    assert crop_changes(5) == ((0, 0, 1, 1), (-0.04, 0, 1, 1), (0.04, 0, 1, 1), (0, -0.04, 1, 1), (0, 0.04, 1, 1))
    assert crop_changes(7)[:5] == crop_changes(5)
    assert crop_changes(7)[5:] == ((0, 0, 0.95, 1), (0, 0, 1.05, 1))
    assert crop_changes(7, scale_depth=True)[5:] == ((0, 0, 0.95, 0.95), (0, 0, 1.05, 1.05))
    assert tuple(EvaluationConfig(crops=number).crops for number in NUMBERS_OF_CROPS) == NUMBERS_OF_CROPS
    with pytest.raises(ValueError, match=r"expected a number of crops of \(1, 5, 7\), found 2"):
        crop_changes(2)


@pytest.mark.parametrize("autocast", [False, True])
def test_pixels_by_hand(autocast):
    row = torch.tensor([10, 20, 30, 40], dtype=torch.uint8)
    images = row.repeat(2, 3, 2, 1)  # (2, 3, 2, 4)

    def change(**fields):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            changed, views = change_crop(images, None, CropChange(**fields))
        assert views is None
        assert changed.shape == images.shape
        assert torch.equal(changed, changed[:1, :1, :1].expand(2, 3, 2, 4))
        return changed[0, 0, 0].tolist()

    assert change_crop(images, None, UNCHANGED)[0] is images
    assert change(right=0.25) == [0, 10, 20, 30]
    assert change(right=-0.25) == [20, 30, 40, 0]
    # Twice as large about the middle: pixel centres 0.5 .. 3.5 come from 1.25, 1.75, 2.25, 2.75.
    found = change(scale=2.0)
    assert found == pytest.approx([17.5, 22.5, 27.5, 32.5])


def test_down_moves_rows():
    images = torch.tensor([10.0, 20, 30, 40])[:, None].repeat(1, 3, 1, 5)
    assert change_crop(images, None, CropChange(down=0.25))[0][0, 0, :, 0].tolist() == [0, 10, 20, 30]


class Centroids(torch.nn.Module):
    """Predicts where the red and the green of a picture are, and depths that grow with the picture if asked to."""

    def __init__(self, *, scales_depth=False):
        super().__init__()
        self.space = ImageVolume(2000.0, HEIGHT, WIDTH, root=0)
        self.scales_depth, self.seen = scales_depth, []

    def forward(self, images):
        self.seen.append(images.shape)
        weight = images[:, :2].double()
        total = weight.sum((-2, -1))
        x = (weight.sum(-2) * (torch.arange(WIDTH) + 0.5)).sum(-1) / total / WIDTH - 0.5
        y = (weight.sum(-1) * (torch.arange(HEIGHT) + 0.5)).sum(-1) / total / HEIGHT - 0.5
        z = torch.tensor([0.0, 0.4]).expand_as(x) * ((total / 90_000).sqrt() if self.scales_depth else 1)
        return Coordinates(torch.stack([x, y, z], -1))


def picture():
    """Two soft spots, red for the hip and green for the hand, well inside the crop; how they were seen."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    spots = [torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 2 / 4**2) for cx, cy in ((40, 30), (60, 38))]
    images = torch.stack([*spots, torch.zeros_like(x)])[None].expand(2, 3, HEIGHT, WIDTH)
    images = images * (90_000 / spots[0].sum())
    camera = torch.tensor([[1100.0, 1150, 300, 280, -0.2, 0.2, 0, 0.001, -0.002]]).expand(2, 9)
    crop_to_image = torch.tensor([[[4.0, 0, 300], [0, 5, 250]]]).expand(2, 2, 3)
    root_camera_mm = torch.tensor([[0.0, 0, 4500]]).expand(2, 3)
    views = CropViews(camera, crop_to_image, root_camera_mm, torch.eye(3).expand(2, 3, 3))
    return images.double(), views.map(torch.Tensor.double)


@pytest.mark.parametrize("scales_depth", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_what_is_found_in_every_crop_lies_at_one_place(scales_depth, flip):
    """Spots move and grow with their crops; lifted by the crops' own views they stay where they are."""
    model, (images, views) = Centroids(scales_depth=scales_depth), picture()
    single, _ = Predictor(model, skeleton=TWO)(images, views)
    assert single[0, 1].norm() > 800
    for change in crop_changes(7, scale_depth=scales_depth)[1:]:
        found, _ = Predictor(model, flip, [change], skeleton=TWO)(images, views)
        torch.testing.assert_close(found, single, atol=1.5, rtol=0)  # bilinear resampling moves spots a little
    model.seen.clear()
    found, _ = Predictor(model, flip, crop_changes(5), skeleton=TWO)(images, views)
    torch.testing.assert_close(found, single, atol=1.5, rtol=0)  # bilinear resampling moves spots a little
    assert len(model.seen) == (10 if flip else 5)


def test_the_mean_over_crops():
    class Left(torch.nn.Module):
        space = MetricVolume(1.0, root=0)

        def forward(self, images):
            joints = torch.zeros(len(images), 2, 3)
            joints[:, 1] = images[:, 0, 0, :1].float()
            return Coordinates(joints)

    images = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
    changes = [UNCHANGED, CropChange(0.25), CropChange(0.125)]
    found, output = Predictor(Left(), crops=changes, skeleton=TWO)(images)
    # 100 as it is, black by a whole pixel, half of it by half a pixel.
    assert found[:, 1].tolist() == [[50, 50, 50]] * 2
    assert output.joints()[:, 1].tolist() == [[100, 100, 100]] * 2, "that of the unchanged crop"
