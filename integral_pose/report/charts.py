"""Curves and bars as plotly figures: plain lists that page.js draws in the page's colours."""

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from integral_pose.evaluation.comparison import Row
from integral_pose.report.colours import MIDDLE_GREY, SERIES_COLOURS
from integral_pose.report.curve_figures import spans_decades
from integral_pose.report.page_content import RunNotes

Chart = dict[str, Any]  # 'data' and 'layout' of plotly

MOST_POINTS = 600  # a curve; more than a screen shows
_DASHES = ("solid", "dash", "dot", "dashdot")
SERIES = [f"series-{number}" for number in range(len(SERIES_COLOURS))]  # colours of the page, others in the dark
_THICK: Chart = {"width": 2.2}
_THIN: Chart = {"width": 1, "dash": "dot"}
_LAYOUT: Chart = {
    "margin": {"l": 60, "r": 16, "t": 12, "b": 48},
    "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0.0, "xanchor": "left"},
}


def error_curves(runs: Sequence[RunNotes]) -> Chart | None:
    """MPJPE of held-out subjects (points) and of training batches (thin) against steps; None where none is logged.

    With the error of each run's mean training pose on the test set as a level.
    """
    traces = []
    for run, colour in zip(runs, itertools.cycle(SERIES)):
        for group, words, style in (("val", "held out", _THICK), ("train", "training", _THIN)):
            found = _curve(run.logged, group, "mpjpe_mm")
            if found:
                marks = "lines+markers" if group == "val" else "lines"
                traces.append(_trace(found, _label(run, runs, words), {**style, "color": colour}, marks))
    steps = [step for trace in traces for step in trace["x"]]
    for run, colour in zip(runs, itertools.cycle(SERIES)):
        if steps and run.mean_pose_mpjpe_mm is not None:
            level = [(step, run.mean_pose_mpjpe_mm) for step in (min(steps), max(steps))]
            words = _label(run, runs, f"mean pose, test set: {run.mean_pose_mpjpe_mm:.0f} mm")
            line = {"width": 1.5, "dash": "dashdot", "color": colour if len(runs) > 1 else MIDDLE_GREY}
            traces.append(_trace(level, words, line, "lines"))
    return _chart(traces, "MPJPE (mm)", [])


def loss_curves(runs: Sequence[RunNotes]) -> Chart | None:
    """Unweighted terms of the training loss against steps: of one run a colour a term, of several a colour a run."""
    traces = []
    for number, run in enumerate(runs):
        for term, (name, words) in enumerate(run.loss_terms.items()):
            found = _curve(run.logged, "train", name)
            colour, dash = (number, _DASHES[term % len(_DASHES)]) if len(runs) > 1 else (term, "solid")
            line = {"width": 1.5, "color": SERIES[colour % len(SERIES)], "dash": dash}
            if found:
                traces.append(_trace(found, _label(run, runs, words), line, "lines"))
    return _chart(traces, "loss terms, unweighted", [value for trace in traces for value in trace["y"]])


def bars(rows: Sequence[Row], names: Sequence[str]) -> Chart:
    """MPJPE of each row as a bar a run, with the intervals."""
    traces = [
        {
            "type": "bar", "orientation": "h", "name": shown(name), "marker": {"color": colour},
            "y": [shown(row.name) for row in rows], "x": [round(row.values[run].mean, 2) for row in rows],
            "error_x": _error_bars(rows, run),
            "hovertemplate": "%{y}: %{x:.1f} mm<extra>" + shown(name) + "</extra>",
        }
        for run, (name, colour) in enumerate(zip(names, itertools.cycle(SERIES)))
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


def _chart(traces: list[Chart], title: str, values: Sequence[float]) -> Chart | None:
    """Logarithmic where `values` span decades, else with 0."""
    if not traces:
        return None
    scale = {"type": "log", "dtick": "D2"} if spans_decades(values) else {"rangemode": "tozero", "nticks": 6}
    layout = _LAYOUT | {
        "showlegend": True,
        "xaxis": {"title": {"text": "step"}, "nticks": 6},
        "yaxis": {"title": {"text": title}, **scale},
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
