"""Curves of a run against its steps."""

import itertools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from integral_pose.report.canvas import Picture, new_figure, to_picture
from integral_pose.report.colours import SERIES_COLOURS


def draw_curves(rows: Sequence[Mapping[str, float]], loss_names: Sequence[str], error_names: Sequence[str]) -> Picture:
    """Loss terms (left, logarithmic) and errors in mm (right) against `step`.

    `rows` are logged at different steps and need not have every name.
    """
    figure = new_figure(width_px=1000, height_px=380)
    loss_axis, error_axis = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.13, top=0.92, wspace=0.2)
    _draw_series(loss_axis, rows, loss_names, "training loss", marker="")
    _draw_series(error_axis, rows, error_names, "MPJPE (mm)", marker="o")
    if any(row.get(name, 0) > 0 for row in rows for name in loss_names):
        loss_axis.set_yscale("log")
    error_axis.set_ylim(bottom=0)
    return to_picture(figure)


def _draw_series(
    axis: Axes, rows: Sequence[Mapping[str, float]], names: Sequence[str], title: str, marker: str
) -> None:
    for name, colour in zip(names, itertools.cycle(SERIES_COLOURS)):
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            axis.plot(*zip(*points, strict=True), color=colour, lw=1.4, marker=marker, ms=3.5, label=name)
    axis.set_title(title, fontsize=9)
    axis.set_xlabel("step", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.25)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, frameon=False)
