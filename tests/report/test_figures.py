import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from integral_pose.report import pose_figures
from integral_pose.report.canvas import write_png
from integral_pose.report.colours import SIDE_COLOURS
from integral_pose.report.curve_figures import draw_curves
from integral_pose.report.heatmap_figures import draw_axes, draw_planes
from integral_pose.report.pose_figures import PoseView, draw_poses, fit_weak_perspective


def has_colour(picture, hexadecimal):
    return (picture == np.array([int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5)])).all(-1).any()


@pytest.fixture
def pose():
    return np.random.default_rng(0).normal(0, 300, (17, 3))


@pytest.fixture
def view(pose):
    image = np.full((64, 64, 3), 128, np.uint8)
    return PoseView(image, pose, pose + 20, pose[:, :2] / 20 + 32, "a name")


def draw_overlay(view):
    """The first column of a contact sheet, below the legend."""
    return draw_poses([view])[36:, :270]


def test_a_contact_sheet_has_a_row_a_sample(view):
    one, two = draw_poses([view]), draw_poses([view, view])
    assert one.dtype == np.uint8
    assert one.shape[1:] == two.shape[1:] == (1080, 3)
    assert two.shape[0] - one.shape[0] == 270
    for colour in SIDE_COLOURS.values():
        assert has_colour(one, colour)


def test_what_is_missing_is_not_drawn(view, pose):
    empty = draw_overlay(PoseView(view.image))
    for partial in (PoseView(view.image, pose), PoseView(view.image, pose, true_crop_px=np.full((17, 2), np.nan))):
        np.testing.assert_array_equal(draw_overlay(partial), empty)  # no pixels are known
    assert has_colour(draw_overlay(view), SIDE_COLOURS["left"])
    nothing = draw_poses([PoseView(view.image)])
    unknown = draw_poses([PoseView(view.image, np.full((17, 3), np.nan))])
    np.testing.assert_array_equal(nothing, unknown)


def test_views_turn_the_pose():
    right, down, away = np.eye(3)[:, None]
    np.testing.assert_array_equal(pose_figures._front_view(right), [[1, 0]])
    np.testing.assert_array_equal(pose_figures._front_view(down), [[0, 1]])
    np.testing.assert_array_equal(pose_figures._side_view(away), [[1, 0]])
    np.testing.assert_array_equal(pose_figures._side_view(down), [[0, 1]])
    # Seen from above: what is farther away stands higher in the picture, where y is down.
    assert pose_figures._oblique_view(away)[0, 1] < 0 < pose_figures._oblique_view(down)[0, 1]


def test_weak_perspective_by_hand_and_at_its_own_answer(pose):
    joints = np.array([[-1.0, 0, 5], [1, 0, -7], [0, 3, 0]])
    np.testing.assert_allclose(fit_weak_perspective(joints, joints[:, :2] * 4 + [10, 20]), joints[:, :2] * 4 + [10, 20])
    np.testing.assert_allclose(fit_weak_perspective(np.zeros((3, 3)), joints[:, :2]), [[0, 1]] * 3)
    target = pose[:, 1:] / 7
    fitted = fit_weak_perspective(pose, target)
    best = ((fitted - target) ** 2).sum()
    middle = fitted.mean(axis=0)
    for other in (
        fitted - [0.1, 0],
        fitted - [0, 0.1],
        (fitted - middle) * 1.05 + middle,
        (fitted - middle) * 0.95 + middle,
    ):
        assert ((other - target) ** 2).sum() > best


def planes(probability):
    """Sums along z, x and y of a volume (D, H, W)."""
    return [probability.sum(axis) for axis in (0, 2, 1)]


def test_planes_show_the_axes_they_name(monkeypatch):
    """One cell of a 3 x 4 x 5 volume lights up at its x, y and z in each of the three pictures."""
    probability = np.zeros((3, 4, 5))
    probability[1, 2, 4] = 1
    shown = []
    monkeypatch.setattr("matplotlib.axes.Axes.imshow", lambda axis, marginal, **_: shown.append((axis, marginal)))
    draw_planes(planes(probability), expected_voxel=(4, 2, 1), true_voxel=(0, 0, 0))
    cell = {"x": 4, "y": 2, "z": 1}
    assert [marginal.shape for _, marginal in shown] == [(4, 5), (4, 3), (3, 5)]
    for axis, marginal in shown:
        down, across = axis.get_ylabel()[0], axis.get_xlabel()[0]
        assert np.argwhere(marginal).tolist() == [[cell[down], cell[across]]]
        ring = axis.get_lines()[0]
        assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (cell[across], cell[down])


def test_axes_show_what_they_name(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.stairs", lambda axis, along, edges, **_: shown.append((axis, along, edges))
    )
    draw_axes([np.eye(5)[4], np.eye(4)[2], np.eye(3)[1]], expected_voxel=(4, 2, 1), true_voxel=(0, 0, 0))
    assert [axis.get_xlabel() for axis, *_ in shown] == ["x (cell)", "y (cell)", "z (cell)"]
    for (axis, along, edges), cell in zip(shown, (4, 2, 1), strict=True):
        ring, cross = axis.get_lines()
        assert (ring.get_xdata()[0], cross.get_xdata()[0]) == (cell, 0)
        assert edges[np.argmax(along)] == cell - 0.5  # the step of cell i is from i - 0.5 to i + 0.5


def test_heat_maps_are_a_picture():
    assert draw_planes(planes(np.full((3, 4, 5), 1 / 60))).shape == (360, 1020, 3)
    assert draw_axes([np.full(n, 1 / n) for n in (5, 4, 3)]).shape == (300, 1020, 3)


def test_curves_take_rows_logged_at_different_steps():
    rows = [{"step": 1, "integral": 0.5}, {"step": 2, "integral": 0.25, "mpjpe_mm": 200.0}, {"step": 2, "epoch": 1}]
    picture = draw_curves(rows, ["integral", "heatmap"], ["mpjpe_mm"])
    assert picture.shape == (380, 1000, 3)
    assert (picture != draw_curves(rows, ["integral", "heatmap"], [])).any()
    assert draw_curves([], ["integral"], ["mpjpe_mm"]).shape == (380, 1000, 3)


def test_png_comes_back(tmp_path, view):
    picture = draw_poses([view])
    write_png(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)


def test_no_global_state_of_matplotlib_is_touched():
    code = (
        "import sys, numpy\n"
        "from integral_pose.report.heatmap_figures import draw_planes\n"
        "draw_planes(numpy.ones((3, 2, 2)))\n"
        "sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
