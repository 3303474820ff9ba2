"""The conventions, held on an unequal D, H, W."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from integral_pose.geometry import coordinates
from integral_pose.geometry.coordinates import MetricVolume, StandardisedPose, centred_to_edge_norm, joints_norm_to_cell
from integral_pose.heatmaps.reference import soft_argmax

SHAPE = (3, 4, 6)  # D, H, W
COORDINATES = st.floats(-4, 4, allow_subnormal=False)


@pytest.mark.parametrize("cell", [(0, 0, 0), (2, 3, 5), (1, 0, 4), (0, 3, 2)])
def test_a_one_hot_volume_decodes_to_its_cells_centre(cell):
    logits = torch.zeros(2, 3, *SHAPE, dtype=torch.float64)
    logits[1, 2][cell] = 500.0
    z, y, x = ((i + 0.5) / n - 0.5 for i, n in zip(cell, SHAPE, strict=True))
    torch.testing.assert_close(
        soft_argmax(logits)[1, 2], torch.tensor([x, y, z], dtype=torch.float64), rtol=0, atol=1e-15
    )
    torch.testing.assert_close(soft_argmax(logits)[0], torch.zeros(3, 3, dtype=torch.float64), rtol=0, atol=1e-15)


def test_cells_by_hand():
    assert coordinates.norm_to_voxel(-0.5, 4) == -0.5
    assert coordinates.norm_to_voxel(0.5, 4) == 3.5
    assert coordinates.voxel_to_norm(1, 4) == -0.125
    assert coordinates.norm_to_crop_px(-0.5, 256) == 0
    assert coordinates.norm_to_crop_px(0.25, 256) == 192
    assert coordinates.crop_px_to_norm(0.5, 2) == -0.25  # the first of two pixels
    centers = coordinates.cell_centers_norm(4, torch.zeros(1, dtype=torch.float64))
    assert centers.tolist() == [-0.375, -0.125, 0.125, 0.375]
    assert centers.dtype == torch.float64
    assert coordinates.axis_lengths_xyz(SHAPE) == (6, 4, 3)


@given(COORDINATES, st.integers(1, 512))
def test_conversions_undo_each_other(norm, length):
    assert coordinates.voxel_to_norm(coordinates.norm_to_voxel(norm, length), length) == pytest.approx(norm, abs=1e-14)
    assert coordinates.crop_px_to_norm(coordinates.norm_to_crop_px(norm, length), length) == pytest.approx(
        norm, abs=1e-14
    )


@given(st.integers(1, 512), st.data())
def test_a_flip_mirrors_cells_and_pixels(length, data):
    cell = data.draw(st.integers(0, length - 1))
    mirrored = coordinates.voxel_to_norm(length - 1 - cell, length)
    assert mirrored == pytest.approx(-coordinates.voxel_to_norm(cell, length), abs=1e-15)
    pixel_centre = coordinates.crop_px_to_norm(cell + 0.5, length)
    assert coordinates.crop_px_to_norm(length - 1 - cell + 0.5, length) == pytest.approx(-pixel_centre, abs=1e-15)


def test_a_flipped_volume_says_minus_x_exactly():
    logits = torch.randn(2, 3, 4, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    straight, flipped = soft_argmax(logits), soft_argmax(logits.flip(-1))
    torch.testing.assert_close(flipped, straight * torch.tensor([-1.0, 1, 1], dtype=torch.float64), rtol=0, atol=1e-15)
    assert (straight[..., 0].abs() > 1e-3).all()


def test_cells_of_joints_inside_on_and_beyond_the_border():
    lengths = torch.tensor([6.0, 4.0, 3.0])
    inside = [([-0.5, -0.5, -0.5], [0, 0, 0]), ([0, 0, 0], [3, 2, 1]), ([0.49, -0.26, 0.3], [5, 0, 2])]
    for norm, cell in inside:
        cells, is_inside = joints_norm_to_cell(torch.tensor([[norm]]), SHAPE)
        assert cells.tolist() == [[cell]]
        assert is_inside.tolist() == [[True]]
    nan, inf = float("nan"), float("inf")
    for beyond in (0.5, -0.5001, 0.7, 1e30, -1e30, inf, -inf, nan):
        for axis in range(3):
            norm = torch.zeros(2, 3)
            norm[1, axis] = beyond
            cells, is_inside = joints_norm_to_cell(norm, SHAPE)
            assert is_inside.tolist() == [True, False], (beyond, axis)
            assert not 0 <= cells[1, axis] < lengths[axis]
    assert cells.dtype == torch.int64


def test_metric_volume():
    space = MetricVolume(2200.0, root=1)
    joints_mm = torch.tensor([[[100.0, -550, 1100], [0, 0, 0]]])
    norm = space.encode(joints_mm)
    torch.testing.assert_close(norm[0, 0], torch.tensor([1 / 22, -0.25, 0.5]))
    torch.testing.assert_close(space.decode(norm), joints_mm)
    torch.testing.assert_close(space.decode(norm + 0.1), joints_mm, msg="the predicted root must be subtracted")


def test_standardised_pose():
    mean_mm = torch.tensor([[0.0, 0, 0], [100, 200, 300]])
    std_mm = torch.tensor([[0.0, 0, 0], [10, 20, 50]])
    space = StandardisedPose(mean_mm, std_mm, root=0)
    joints_mm = torch.tensor([[[0.0, 0, 0], [110, 180, 300]]], dtype=torch.float64)
    encoded = space.encode(joints_mm)
    assert encoded.tolist() == [[[0, 0, 0], [1, -1, 0]]]
    assert space.decode(encoded).tolist() == joints_mm.tolist()
    # The root never varies, so it is read in mm, and what is said of it moves all the others.
    assert space.decode(torch.tensor([[[1.0, 2, 3], [0, 0, 0]]])).tolist() == [[[0, 0, 0], [99, 198, 297]]]


@given(st.lists(st.floats(-3000, 3000), min_size=6, max_size=6))
def test_poses_survive_the_way_there_and_back(numbers):
    joints_mm = torch.tensor(numbers, dtype=torch.float64).view(1, 2, 3)
    joints_mm = joints_mm - joints_mm[:, :1]
    statistics = torch.tensor([[0.0, 0, 0], [50, -3, 7]]), torch.tensor([[0.0, 0, 0], [0, 120, 9]])
    for space in (MetricVolume(2200.0, 0), StandardisedPose(*statistics, 0)):
        torch.testing.assert_close(space.decode(space.encode(joints_mm)), joints_mm, rtol=0, atol=1e-9)


def test_root_relative_takes_arrays_too():
    joints_mm = np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(coordinates.root_relative(joints_mm, 1)[:, 0], [[-3, -3, -3]] * 2)
    np.testing.assert_array_equal(coordinates.root_relative(joints_mm, 1)[:, 1], 0)


def test_edge_cells_lie_half_a_cell_lower():
    joints_norm = torch.zeros(1, 2, 3)
    expected = torch.tensor([-0.5 / 8, -0.5 / 4, -0.5 / 2]).expand(1, 2, 3)
    torch.testing.assert_close(centred_to_edge_norm(joints_norm, (2, 4, 8)), expected)


def test_depth_in_pixels_is_scaled_by_the_length_of_the_bones():
    """By hand: bones of 30 px along y and 40 px along z, of which 70 mm are to be made 140."""
    space = coordinates.CropVolume(80.0, 60, 40, 140.0, ((1, 0), (2, 1)), root=1)
    joints = torch.tensor([[[0.25, 0.0, 0.0], [0.25, 0.5, 0.0], [0.25, 0.5, 0.5]]]).repeat(2, 1, 1)
    joints[1] = joints[1] / 2 - 0.1  # half as large and elsewhere: the same person
    expected_mm = torch.tensor([[[0.0, -60, 0], [0, 0, 0], [0, 0, 80]]]).repeat(2, 1, 1)
    torch.testing.assert_close(space.decode(joints), expected_mm)
    with pytest.raises(ValueError, match="is read from imported weights, not trained on"):
        space.encode(joints)
