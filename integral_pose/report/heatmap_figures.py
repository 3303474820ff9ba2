"""Marginals of one joint's heat map with the joint marked in them: a ring the expectation, a cross the truth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from integral_pose.contracts import FloatArray
from integral_pose.report.canvas import Picture, new_figure, to_picture
from integral_pose.report.colours import GREY, SKY

_MARK = {"linestyle": "", "color": SKY, "markerfacecolor": "none", "markersize": 11, "markeredgewidth": 1.6}
_EXPECTATION_MARK: dict[str, Any] = {**_MARK, "marker": "o", "label": "expectation"}
_TRUTH_MARK: dict[str, Any] = {**_MARK, "marker": "+", "label": "truth"}

Voxel = Sequence[float]  # (x, y, z) in continuous cell indices


def draw_planes(
    planes: Sequence[FloatArray], expected_voxel: Voxel | None = None, true_voxel: Voxel | None = None
) -> Picture:
    """The heat map summed along z, x and y, (H, W), (D, H) and (D, W): its front, side and top view."""
    views = (("x", "y", "z"), ("z", "y", "x"), ("x", "z", "y"))
    figure, axes = _three_panels(height_px=360, bottom=0.14, top=0.86)
    for axis, plane, (across, down, summed) in zip(axes, planes, views, strict=True):
        marginal = plane.T if across == "z" else plane  # (H, D): depth to the right, as in the side view of a pose
        axis.imshow(marginal, cmap="magma", interpolation="nearest", aspect="equal")
        for voxel, style in ((expected_voxel, _EXPECTATION_MARK), (true_voxel, _TRUTH_MARK)):
            if voxel is not None:
                axis.plot(voxel["xyz".index(across)], voxel["xyz".index(down)], **style)
        axis.set_ylabel(f"{down} (cell)", fontsize=8)
        _label(axis, across, f"summed over {summed}, peak {marginal.max():.2g}")
    return _with_legend(figure, axes[0])


def draw_axes(
    probabilities: Sequence[FloatArray], expected_voxel: Voxel | None = None, true_voxel: Voxel | None = None
) -> Picture:
    """The probabilities along x (W,), y (H,) and z (D,) as steps."""
    figure, axes = _three_panels(height_px=300, bottom=0.16, top=0.84)
    for i, (axis, along) in enumerate(zip(axes, probabilities, strict=True)):
        axis.stairs(along, np.arange(len(along) + 1) - 0.5, color=GREY, fill=True, alpha=0.6)
        for voxel, style in ((expected_voxel, _EXPECTATION_MARK), (true_voxel, _TRUTH_MARK)):
            if voxel is not None:
                axis.plot(voxel[i], 0, clip_on=False, zorder=3, **style)
        axis.set_xlim(-0.5, len(along) - 0.5)
        axis.set_ylim(bottom=0)
        _label(axis, "xyz"[i], f"peak {along.max():.2g}")
    return _with_legend(figure, axes[0])


def _three_panels(height_px: int, bottom: float, top: float) -> tuple[Figure, Sequence[Axes]]:
    figure = new_figure(width_px=1020, height_px=height_px)
    axes = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.05, right=0.98, bottom=bottom, top=top, wspace=0.25)
    return figure, axes


def _label(axis: Axes, across: str, title: str) -> None:
    axis.set_xlabel(f"{across} (cell)", fontsize=8)
    axis.set_title(title, fontsize=8)
    axis.tick_params(labelsize=7)


def _with_legend(figure: Figure, axis: Axes) -> Picture:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=2, frameon=False, fontsize=8)
    return to_picture(figure)
