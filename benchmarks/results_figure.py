"""The table of an ablation as a picture: each seed a dot, the mean a line, differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.summary import Line, lines
from integral_pose.report.colours import SERIES_COLOURS

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#808080"


def draw(content: Mapping[str, Any]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: left the MPJPE of every run, right the paired difference from its reference."""
    table_lines = lines(content)
    runs = {row["name"]: [run["mpjpe_mm"] for run in row["runs"]] for row in content["rows"]}
    figure = Figure(figsize=(11, 1.2 + 0.42 * len(table_lines)), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _draw_errors(left, table_lines, runs)
    _draw_differences(right, table_lines)
    left.set_yticks(range(len(table_lines)), [line.title for line in table_lines])
    left.invert_yaxis()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_curves(content: Mapping[str, Any]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: MPJPE of the training batches over core seconds, each approach the mean of its seeds."""
    figure = Figure(figsize=(11, 6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    rows = [row for row in content["rows"] if row["runs"] and "curve" in row["runs"][0]]
    for number, row in enumerate(rows):
        curves = np.array([run["curve"] for run in row["runs"]]).mean(0)
        colour, dashes = SERIES_COLOURS[number % len(SERIES_COLOURS)], "-" if number < len(SERIES_COLOURS) else "--"
        axis.plot(curves[:, 0] / row["images_per_s"], curves[:, 1], dashes, color=colour, lw=1.6, label=row["title"])
    axis.axhline(content["mean_pose_on_test"]["mpjpe_mm"], color=GREY, lw=1, ls=":", label="mean pose, test set")
    axis.set_xlabel("core seconds of training")
    axis.set_ylabel("MPJPE of the training batches, mm")
    axis.grid(color="#dddddd", lw=0.7)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_errors(axis: Axes, table_lines: Sequence[Line], runs: Mapping[str, Sequence[float]]) -> None:
    for place, line in enumerate(table_lines):
        axis.plot(runs[line.name], [place] * len(runs[line.name]), "o", color=BLUE, alpha=0.6, ms=6, mec="none")
        axis.plot([line.mpjpe_mm] * 2, [place - 0.28, place + 0.28], color="black", lw=1.6)
        axis.annotate(f"{line.mpjpe_mm:.1f}", (line.mpjpe_mm, place - 0.3), fontsize=7, ha="center")
    axis.set_xlabel("MPJPE, mm: each seed, and their mean")
    axis.grid(axis="x", color="#dddddd", lw=0.7)
    axis.set_axisbelow(True)


def _draw_differences(axis: Axes, table_lines: Sequence[Line]) -> None:
    axis.axvline(0, color=GREY, lw=1)
    for place, line in enumerate(table_lines):
        if line.difference is not None:
            mm = line.difference.mm
            colour = VERMILION if line.difference.is_decided and line.difference.matters else GREY
            axis.plot(mm.bounds or [mm.mean, mm.mean], [place, place], color=colour, lw=2.2)
            axis.plot(mm.mean, place, "o", color=colour, ms=5)
    axis.set_xlabel("less integral, mm\n(grey: not decided, or below 1 %)")
    axis.grid(axis="x", color="#dddddd", lw=0.7)
    axis.set_axisbelow(True)
