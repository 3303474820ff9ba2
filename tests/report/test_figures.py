import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from integral_pose.report import curve_figures, heatmap_figures, pose_figures
from integral_pose.report.canvas import write_png
from integral_pose.report.colours import SIDE_COLOURS
from integral_pose.report.curve_figures import draw_curves, loss_words
from integral_pose.report.heatmap_figures import SEVERAL_PEAKS, count_peaks, draw_axes, draw_planes
from integral_pose.report.pose_figures import PoseView, draw_people, draw_poses, fit_weak_perspective
from integral_pose.skeleton import HUMAN36M

LOSSES = loss_words("l1", "cross_entropy")


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
    return draw_poses([view], HUMAN36M)[36:, :270]


def test_a_contact_sheet_has_a_row_a_sample(view):
    one, two = draw_poses([view], HUMAN36M), draw_poses([view, view], HUMAN36M)
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
    nothing = draw_poses([PoseView(view.image)], HUMAN36M)
    unknown = draw_poses([PoseView(view.image, np.full((17, 3), np.nan))], HUMAN36M)
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


@pytest.mark.parametrize("sides", [(1, 1, 1), (48, 64, 64), (64, 48, 20), (10, 100, 100)])
def test_a_heat_map_has_the_proportions_of_its_volume(monkeypatch, sides):
    """Whatever the numbers of cells: here 5, 4 and 3 along x, y and z."""
    monkeypatch.setattr(heatmap_figures, "to_picture", lambda figure: figure)
    figure = draw_planes(planes(np.full((3, 4, 5), 1 / 60)), title="a", sides=sides)
    figure.canvas.draw()
    x, y, z = sides
    boxes = [axis.get_window_extent() for axis in figure.axes]
    scale = boxes[0].width / x
    for box, (width, height) in zip(boxes, ((x, y), (z, y), (x, z)), strict=True):
        np.testing.assert_allclose([box.width, box.height], [width * scale, height * scale], rtol=1e-6)
    assert max(box.x1 for box in boxes) < figure.bbox.width
    assert min(box.y0 for box in boxes) > 0


def test_a_heat_map_names_what_it_is_of_and_says_why_it_has_several_peaks(monkeypatch):
    monkeypatch.setattr(heatmap_figures, "to_picture", lambda figure: [text.get_text() for text in figure.texts])
    one, two = np.zeros((2, 4, 5)), np.zeros((2, 4, 5))
    one[0, 1, 1:3] = 0.5
    two[0, 1, [1, 3]] = 0.6, 0.4
    for draw, marginals in ((draw_planes, planes), (draw_axes, lines)):
        assert draw(marginals(one), title="LWrist in a.jpg") == ["LWrist in a.jpg"]
        assert draw(marginals(two), title="LWrist in a.jpg") == ["LWrist in a.jpg", SEVERAL_PEAKS]


def lines(probability):
    """Sums along all axes but x, y and z of a volume (D, H, W)."""
    return [probability.sum(axes) for axes in ((0, 1), (0, 2), (1, 2))]


def test_peaks_by_hand():
    assert count_peaks(np.array([0.1, 1, 0.6, 0.1, 0.5, 0.1])) == 2
    assert count_peaks(np.array([0.1, 1, 0.6, 0.1, 0.4, 0.1])) == 1  # the second is below half
    assert count_peaks(np.full((3, 4), 1 / 12)) == 1
    ring = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    assert count_peaks(ring) == 2  # corners touch


def test_curves_take_rows_logged_at_different_steps():
    rows = [{"step": 1, "integral": 0.5}, {"step": 2, "integral": 0.25, "mpjpe_mm": 200.0}, {"step": 2, "epoch": 1}]
    picture = draw_curves(rows, LOSSES, ["mpjpe_mm"])
    assert picture.shape == (440, 1100, 3)
    assert (picture != draw_curves(rows, LOSSES, [])).any()
    assert draw_curves([], LOSSES, ["mpjpe_mm"]).shape == picture.shape


@pytest.mark.parametrize("largest", [0.4, 4, 400, 4e6])  # above losses of 0.3
def test_curves_are_named_and_have_few_ticks_that_can_be_read(monkeypatch, largest):
    monkeypatch.setattr(curve_figures, "to_picture", lambda figure: figure)
    rows = [{"step": i, "integral": 0.3, "heatmap": largest, "held out": 90.0} for i in range(1, 900)]
    figure = draw_curves(rows, LOSSES, ["training batches", "held out"], ("mean pose, held out", 257.4))
    figure.canvas.draw()
    losses, errors = figure.axes
    names = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in (losses, errors)]
    assert names == [["integral: l1", "heat map: cross_entropy"], ["held out", "mean pose, held out: 257 mm"]]
    assert errors.get_lines()[1].get_ydata() == [257.4, 257.4]
    assert losses.get_yscale() == ("linear" if largest == 0.4 else "log")
    for axis in (losses, errors):
        for ticks in (axis.xaxis, axis.yaxis):
            low, high = sorted(ticks.get_view_interval())
            shown = [tick for tick in ticks.get_major_ticks() if low <= tick.get_loc() <= high]
            assert 2 <= len(shown) <= 8
            assert all(tick.label1.get_fontsize() >= 11 for tick in shown)
            assert not [tick for tick in ticks.get_minor_ticks() if tick.label1.get_text()]
        assert all(text.get_fontsize() >= 11 for text in axis.get_legend().get_texts())


def test_each_row_names_its_error(monkeypatch, pose):
    """By hand: one joint of 17 is 170 mm off; a shift of the whole pose is no error."""
    monkeypatch.setattr(pose_figures, "to_picture", lambda figure: figure)
    wrong = pose + 20
    wrong[5] += [170, 0, 0]
    image = np.zeros((64, 64, 3), np.uint8)
    name = "a/folder/with/a/long/name/" + "S1_Directions_1.54138969_000001.jpg"
    views = [
        PoseView(image, wrong, pose, pose[:, :2], name),
        PoseView(image, wrong, pose),
        PoseView(image, wrong, true_crop_px=pose[:, :2], title="b"),
        PoseView(image, wrong, title="c"),
    ]
    titles = [axis.get_title() for axis in draw_poses(views, HUMAN36M).axes[::4]]
    assert titles[0].startswith("…ame/S1_Directions_1.54138969_000001.jpg\nMPJPE 10 mm; overlay fitted to the truth")
    assert titles[1:] == ["MPJPE 10 mm", "b\noverlay fitted to the truth", "c"]
    figure = draw_poses(views, HUMAN36M)
    figure.canvas.draw()
    widths = [axis.title.get_window_extent().width for axis in figure.axes[::4]]
    assert max(widths) < 270  # of a column


@pytest.mark.parametrize("corner", [(60, 70), (-20, -30), (190, 5)])
def test_people_carry_their_labels(pose, corner):
    """Black behind white letters, within the picture wherever the box lies."""
    picture = np.full((300, 300, 3), 90, np.uint8)
    joints, boxes = [pose[:, :2] / 20 + 150], [np.array([*corner, 100, 120])]
    bare, labelled = (
        draw_people(picture, joints, boxes, HUMAN36M),
        draw_people(picture, joints, boxes, HUMAN36M, labels=["2: 0.83"]),
    )
    rows, columns = np.nonzero((bare != labelled).any(-1))
    assert 8 <= np.ptp(rows) <= 40
    assert 40 <= np.ptp(columns) <= 90
    assert rows.min() > 0
    changed = labelled[(bare != labelled).any(-1)]
    assert (changed == 0).all(-1).sum() > 200
    assert (changed > 240).all(-1).any()


def test_png_comes_back(tmp_path, view):
    picture = draw_poses([view], HUMAN36M)
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
