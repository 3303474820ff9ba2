"""Curves and bars as plotly figures: plain lists that page.js draws in the page's colours."""

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from integral_pose.evaluation.comparison import Row
from integral_pose.report.colours import SERIES_COLOURS
from integral_pose.report.page_content import RunNotes

Chart = dict[str, Any]  # 'data' and 'layout' of plotly

MOST_POINTS = 600  # a curve; more than a screen shows
_DASHES = ("solid", "dash", "dot", "dashdot")
_THICK: Chart = {"width": 2.2}
_THIN: Chart = {"width": 1, "dash": "dot"}
_LAYOUT: Chart = {
    "margin": {"l": 60, "r": 16, "t": 12, "b": 48},
    "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0.0, "xanchor": "left"},
}


def error_curves(runs: Sequence[RunNotes]) -> Chart | None:
    """MPJPE of held-out subjects (points) and of training batches (thin) against steps; None where none is logged."""
    traces = []
    for run, colour in zip(runs, itertools.cycle(SERIES_COLOURS)):
        for group, words, style in (("val", "held out", _THICK), ("train", "training", _THIN)):
            found = _curve(run.logged, group, "mpjpe_mm")
            if found:
                marks = "lines+markers" if group == "val" else "lines"
                traces.append(_trace(found, _label(run, runs, words), {**style, "color": colour}, marks))
    return _chart(traces, "MPJPE (mm)")


def loss_curves(runs: Sequence[RunNotes]) -> Chart | None:
    """Unweighted terms of the training loss against steps, on a logarithmic axis: of one run a colour a term, of
    several a colour a run.
    """
    traces = []
    for number, run in enumerate(runs):
        for term, name in enumerate(run.loss_terms):
            found = [(step, value) for step, value in _curve(run.logged, "train", name) if value > 0]
            colour, dash = (number, _DASHES[term % len(_DASHES)]) if len(runs) > 1 else (term, "solid")
            line = {"width": 1.5, "color": SERIES_COLOURS[colour % len(SERIES_COLOURS)], "dash": dash}
            if found:
                traces.append(_trace(found, _label(run, runs, name), line, "lines"))
    chart = _chart(traces, "loss term, unweighted")
    if chart:
        chart["layout"]["yaxis"]["type"] = "log"
    return chart


def bars(rows: Sequence[Row], names: Sequence[str]) -> Chart:
    """MPJPE of each row as a bar a run, with the intervals."""
    traces = [
        {
            "type": "bar", "orientation": "h", "name": shown(name), "marker": {"color": colour},
            "y": [shown(row.name) for row in rows], "x": [round(row.values[run].mean, 2) for row in rows],
            "error_x": _error_bars(rows, run),
            "hovertemplate": "%{y}: %{x:.1f} mm<extra>" + shown(name) + "</extra>",
        }
        for run, (name, colour) in enumerate(zip(names, itertools.cycle(SERIES_COLOURS)))
    ]  # fmt: skip
    layout = _LAYOUT | {
        "xaxis": {"title": {"text": "MPJPE (mm)"}, "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed", "automargin": True},
        "height": 110 + len(rows) * (16 + 12 * len(names)),
        "bargap": 0.25,
        "showlegend": len(names) > 1,
    }
    return {"data": traces, "layout": layout}


def shown(text: str) -> str:
    """Text for plotly, which takes `<b>` and `<a>` in a name as markup."""
    return html.escape(text)


def _label(run: RunNotes, runs: Sequence[RunNotes], words: str) -> str:
    return f"{shown(run.name)}, {words}" if len(runs) > 1 else words


def _curve(logged: Sequence[Mapping[str, Any]], group: str, name: str) -> list[tuple[float, float]]:
    """(step, value) of every row that has the name, thinned evenly to MOST_POINTS; the last stays."""
    points = [
        (float(row["step"]), float(row[name]))
        for row in logged
        if row.get("group") == group and isinstance(row.get(name), int | float) and math.isfinite(row[name])
    ]
    every = math.ceil(len(points) / MOST_POINTS) if points else 1
    return points[::-1][::every][::-1]


def _trace(points: Sequence[tuple[float, float]], name: str, line: dict[str, Any], mode: str) -> dict[str, Any]:
    steps, values = zip(*points, strict=True)
    return {
        "type": "scatter", "mode": mode, "name": name, "line": line, "marker": {"size": 5},
        "x": list(steps), "y": [float(f"{value:.5g}") for value in values],
    }  # fmt: skip


def _chart(traces: list[Chart], title: str) -> Chart | None:
    if not traces:
        return None
    layout = _LAYOUT | {
        "showlegend": True,
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"title": {"text": title}},
        "height": 330 + 15 * len(traces),  # on a phone the legend has a line a trace
    }
    return {"data": traces, "layout": layout}


def _error_bars(rows: Sequence[Row], run: int) -> dict[str, Any] | None:
    estimates = [row.values[run] for row in rows]
    if all(estimate.low is None for estimate in estimates):
        return None
    return {
        "type": "data", "symmetric": False, "thickness": 1.2, "width": 3,
        "array": [0 if e.high is None else round(e.high - e.mean, 2) for e in estimates],
        "arrayminus": [0 if e.low is None else round(e.mean - e.low, 2) for e in estimates],
    }  # fmt: skip
