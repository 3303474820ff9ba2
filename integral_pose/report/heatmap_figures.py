"""Marginals of one joint's heat map with the joint marked in them: a ring the expectation, a cross the truth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from integral_pose.contracts import FloatArray
from integral_pose.report.canvas import INCH_PX, Picture, new_figure, shortened, to_picture
from integral_pose.report.colours import GREY, SKY

_MARK = {"linestyle": "", "color": SKY, "markerfacecolor": "none", "markersize": 12, "markeredgewidth": 2}
_EXPECTATION_MARK: dict[str, Any] = {**_MARK, "marker": "o", "label": "expectation"}
_TRUTH_MARK: dict[str, Any] = {**_MARK, "marker": "+", "label": "truth"}
SEVERAL_PEAKS = (
    "Several peaks, all of this one joint: a loss of coordinates trains only their mean, the ring; or the network "
    "wavers between places"
)
LEAST_PEAK = 0.5  # of the highest

LARGEST_PX = (780, 300)  # of all three views side by side, of each from top to bottom
_WIDTH_PX, _LEFT_PX, _RIGHT_PX, _BOTTOM_PX, _TOP_PX = 1000, 56, 12, 50, 98

Voxel = Sequence[float]  # (x, y, z) in continuous cell indices


def draw_planes(
    planes: Sequence[FloatArray],
    expected_voxel: Voxel | None = None,
    true_voxel: Voxel | None = None,
    *,
    title: str = "",
    sides: Sequence[float] = (1, 1, 1),
) -> Picture:
    """The heat map summed along z, x and y, (H, W), (D, H) and (D, W): its front, side and top view.

    The views have one scale, in which the volume's sides along x, y and z are as long as `sides` say, however many
    cells are along each.
    """
    views = (("x", "y", "z"), ("z", "y", "x"), ("x", "z", "y"))
    figure, axes = _views_in_proportion(sides)
    for axis, plane, (across, down, summed) in zip(axes, planes, views, strict=True):
        marginal = plane.T if across == "z" else plane  # (H, D): depth to the right, as in the side view of a pose
        axis.imshow(marginal, cmap="magma", interpolation="nearest", aspect="auto")
        for voxel, style in ((expected_voxel, _EXPECTATION_MARK), (true_voxel, _TRUTH_MARK)):
            if voxel is not None:
                axis.plot(voxel["xyz".index(across)], voxel["xyz".index(down)], **style)
        axis.set_ylabel(f"{down} (cell)", fontsize=10, labelpad=2)
        _label(axis, across, f"summed over {summed}, peak {marginal.max():.2g}")
    return _finished(figure, axes[0], title, planes)


def draw_axes(
    probabilities: Sequence[FloatArray],
    expected_voxel: Voxel | None = None,
    true_voxel: Voxel | None = None,
    *,
    title: str = "",
) -> Picture:
    """The probabilities along x (W,), y (H,) and z (D,) as steps."""
    figure = new_figure(_WIDTH_PX, 340)
    axes = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.05, right=0.98, bottom=_BOTTOM_PX / 340, top=1 - _TOP_PX / 340, wspace=0.25)
    for i, (axis, along) in enumerate(zip(axes, probabilities, strict=True)):
        axis.stairs(along, np.arange(len(along) + 1) - 0.5, color=GREY, fill=True, alpha=0.6)
        for voxel, style in ((expected_voxel, _EXPECTATION_MARK), (true_voxel, _TRUTH_MARK)):
            if voxel is not None:
                axis.plot(voxel[i], 0, clip_on=False, zorder=3, **style)
        axis.set_xlim(-0.5, len(along) - 0.5)
        axis.set_ylim(bottom=0)
        _label(axis, "xyz"[i], f"peak {along.max():.2g}")
    return _finished(figure, axes[0], title, probabilities)


def count_peaks(marginal: FloatArray) -> int:
    """How many hills of a marginal of one or two axes stand apart above LEAST_PEAK of the highest."""
    is_high = marginal >= LEAST_PEAK * marginal.max()
    hill: FloatArray = np.where(is_high, np.arange(1, marginal.size + 1).reshape(marginal.shape), 0)
    while True:  # each cell takes the largest number among its neighbours, until a hill has one number
        around = np.lib.stride_tricks.sliding_window_view(np.pad(hill, 1), (3,) * hill.ndim)
        spread = np.where(is_high, around.max(axis=tuple(range(-hill.ndim, 0))), 0)
        if (spread == hill).all():
            return len(np.unique(hill[is_high]))
        hill = spread


def _views_in_proportion(sides: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Axes for the front (x, y), side (z, y) and top view (x, z)."""
    x, y, z = sides
    px = min(LARGEST_PX[0] / (x + z + x), LARGEST_PX[1] / max(y, z))
    height_px = round(max(y, z) * px) + _BOTTOM_PX + _TOP_PX
    figure = new_figure(_WIDTH_PX, height_px)
    gap_px = (_WIDTH_PX - (x + z + x) * px - 3 * _LEFT_PX - _RIGHT_PX) / 3
    left_px, axes = gap_px / 2 + _LEFT_PX, []
    for width, height in ((x, y), (z, y), (x, z)):
        bottom_px = height_px - _TOP_PX - height * px
        place_px = np.array([left_px, bottom_px, width * px, height * px])
        axes.append(figure.add_axes(tuple(place_px / [_WIDTH_PX, height_px, _WIDTH_PX, height_px])))
        left_px += width * px + _LEFT_PX + gap_px
    return figure, axes


def _label(axis: Axes, across: str, title: str) -> None:
    axis.set_xlabel(f"{across} (cell)", fontsize=10, labelpad=2)
    axis.set_title(title, fontsize=10)
    axis.tick_params(labelsize=9)
    axis.locator_params(nbins=6, integer=True)


def _finished(figure: Figure, axis: Axes, title: str, marginals: Sequence[FloatArray]) -> Picture:
    height_px = figure.get_figheight() * INCH_PX
    figure.text(0.5, 1 - 8 / height_px, shortened(title, 90), fontsize=12, ha="center", va="top")
    if any(count_peaks(marginal) > 1 for marginal in marginals):
        figure.text(0.5, 1 - 30 / height_px, SEVERAL_PEAKS, fontsize=9, ha="center", va="top")
    handles, labels = axis.get_legend_handles_labels()
    place = (0.5, 1 - 42 / height_px)
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=place, ncols=2, frameon=False, fontsize=9)
    return to_picture(figure)
