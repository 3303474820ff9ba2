"""Curves of a run against its steps."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from integral_pose.report.canvas import Picture, new_figure, to_picture
from integral_pose.report.colours import GREY, SERIES_COLOURS

LEAST_RATIO_OF_LOGARITHMS = 10  # of the largest value to the least; nearer ones are drawn on an even axis from 0


def draw_curves(
    rows: Sequence[Mapping[str, float]],
    losses: Mapping[str, str],
    errors: Sequence[str],
    mean_pose: tuple[str, float] | None = None,
) -> Picture:
    """Loss terms (left) and errors in mm (right) against `step`, with the error of the mean pose as a level.

    `rows` are logged at different steps and need not have every name. `losses`: name in the rows -> words.
    """
    figure = new_figure(width_px=1100, height_px=440)
    loss_axis, error_axis = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.14, top=0.91, wspace=0.2)
    for (name, words), colour in zip(losses.items(), SERIES_COLOURS, strict=False):
        _draw_series(loss_axis, rows, name, words, colour)
    styles: tuple[dict[str, Any], ...] = ({"lw": 1.0}, {"lw": 2.2, "marker": "o", "ms": 5})
    for name, colour, style in zip(errors, SERIES_COLOURS, styles, strict=False):
        _draw_series(error_axis, rows, name, name, colour, **style)
    if mean_pose is not None:
        words, mean_pose_mm = mean_pose
        error_axis.axhline(mean_pose_mm, color=GREY, lw=1.6, ls=":", label=f"{words}: {mean_pose_mm:.0f} mm")
    _set_scale(loss_axis, [row[name] for row in rows for name in losses if name in row])
    _set_scale(error_axis, [])
    _label(loss_axis, "loss terms, unweighted")
    _label(error_axis, "MPJPE (mm)")
    return to_picture(figure)


def loss_words(joints: str, heatmap: str) -> dict[str, str]:
    """Loss term -> what to call it, from the names of the losses in the configuration."""
    return {"integral": f"integral: {joints}", "heatmap": f"heat map: {heatmap}", "variance": "variance"}


def spans_decades(values: Sequence[float]) -> bool:
    """Whether values are better drawn on a logarithmic axis; not where one is 0 or below, as some losses are."""
    return bool(values) and 0 < LEAST_RATIO_OF_LOGARITHMS * min(values) <= max(values)


def _draw_series(
    axis: Axes, rows: Sequence[Mapping[str, float]], name: str, words: str, colour: str, **style: Any
) -> None:
    points = [(row["step"], row[name]) for row in rows if name in row]
    if points:
        axis.plot(*zip(*points, strict=True), color=colour, label=words, **{"lw": 1.6, **style})


def _set_scale(axis: Axes, values: Sequence[float]) -> None:
    """Few ticks, of plain numbers."""
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    if not spans_decades(values):
        axis.set_ylim(bottom=min([0.0, *values]))
        axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        return
    ratio = max(values) / min(values)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 100 else (1, 3) if ratio < 10_000 else (1,)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _label(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=12)
    axis.set_xlabel("step", fontsize=11)
    axis.tick_params(labelsize=11)
    axis.grid(alpha=0.25)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=11, frameon=False)
