"""The whole page: every part that there is, the style, the programs, and a policy that forbids any request."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import plotly.offline

from integral_pose.evaluation.comparison import Comparison, Row
from integral_pose.report.page import charts, tables
from integral_pose.report.page.content import Report
from integral_pose.report.page.markup import Html, data_script, element, folded, joined, section
from integral_pose.report.page.poses import colour_bar, error_skeleton
from integral_pose.report.page.samples import heatmaps_section, samples_data, samples_section

_HOW_TO_READ = (
    "MPJPE is the mean distance of all joints from the truth after the hips were moved together. An interval says how "
    "far a mean would move with other recordings, with 95\N{NO-BREAK SPACE}% confidence; it is rough where there are "
    "few sequences."
)
_HOW_TO_READ_DIFFERENCES = (
    " A difference is taken image by image; it is called better or worse where its interval leaves out 0. Each "
    "interval is of its own row: of twenty rows that do not differ, one stands out by chance."
)


def render(report: Report) -> str:
    """One HTML file as text: the same report gives the same bytes."""
    names = [run.name for run in report.runs]
    drawn = _charts(report)
    parts = [
        _summary(report),
        *([_errors(report, report.comparison, drawn)] if report.comparison else []),
        section("samples", "Test images", samples_section(report)) if report.worst or report.random else Html(""),
        _heatmaps(report),
        _curves(drawn),
        _configuration(report),
    ]
    data = {
        "charts": drawn, "runs": [charts.shown(name) for name in names], "samples": samples_data(report),
        "joints": [charts.shown(name) for name in report.skeleton.names],
        "bones": [[child, parent, report.skeleton.side(child)] for child, parent in report.skeleton.bones],
    }  # fmt: skip
    programs = [plotly.offline.get_plotlyjs(), _resource("page.js")]
    title = "Report: " + ", ".join(names)
    body = element("body", _head(title, parts), element("main", *parts), data_script("report-data", data),
                   *(element("script", Html(program)) for program in programs))  # fmt: skip
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(programs)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Html(_resource("page.css"))),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _policy(programs: list[str]) -> str:
    """No request at all, and no program but our own: not even one that a file's name would smuggle in."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode() for text in programs]
    scripts = " ".join(f"'sha256-{value}'" for value in hashes)
    return f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {scripts}"


def _resource(name: str) -> str:
    return files("integral_pose.report.page").joinpath(name).read_text("utf-8")


def _charts(report: Report) -> dict[str, charts.Chart]:
    found = {"error-curve": charts.error_curves(report.runs), "loss-curve": charts.loss_curves(report.runs)}
    if report.comparison and "action" in report.comparison.groups:
        names = [run.name for run in report.runs]
        found["action-bars"] = charts.bars(report.comparison.groups["action"], names)
    return {name: chart for name, chart in found.items() if chart}


def _head(title: str, parts: list[Html]) -> Html:
    links = [
        element("a", words, href=f"#{name}")
        for name, words in (("errors", "errors"), ("samples", "images"), ("heatmaps", "heat maps"),
                            ("curves", "curves"), ("configuration", "configuration"))
        if any(f'id="{name}">' in part for part in parts)
    ]  # fmt: skip
    return element("header", element("h1", title), element("nav", *links))


def _summary(report: Report) -> Html:
    remarks = [element("p", remark, class_="remark") for remark in report.remarks]
    if report.comparison is None:
        words = f"{report.num_images:,} test images were predicted; without labels there are no errors to show."
        return element("section", element("p", words), *remarks, id="summary")
    sequences = report.comparison.scores[0].num_sequences
    words = f"{report.num_images:,} test images" + (f" of {sequences:,} sequences. " if sequences else ". ")
    compares = any(row.differences for row in report.comparison.distances)
    words += _HOW_TO_READ + (_HOW_TO_READ_DIFFERENCES if compares else "")
    headline = tables.summary(report.runs, report.comparison)
    return element("section", headline, element("p", words), *remarks, id="summary")


def _errors(report: Report, comparison: Comparison, drawn: Mapping[str, Any]) -> Html:
    groups = comparison.groups
    overview = []
    if "joint" in groups:
        overview.append(element("div", element("h3", "By joint"), _skeletons(report, groups["joint"])))
    if "action-bars" in drawn:
        overview.append(element("div", element("h3", "By action"), _figure("action-bars")))
    parts = [element("div", *overview, class_="overview"), element("h3", "As tables")]
    parts += [folded("all metrics", tables.metrics(report.runs, comparison), is_open=True)]
    parts += [folded(f"by {kind}", tables.group(kind, rows, report.runs)) for kind, rows in groups.items()]
    return section("errors", "Errors", *parts)


def _skeletons(report: Report, rows: list[Row] | Any) -> Html:
    """A drawn person a run, all in the same colours."""
    highest = max(value.mean for row in rows for value in row.values)
    drawn = [
        element(
            "figure",
            element("figcaption", run.name) if len(report.runs) > 1 else Html(""),
            error_skeleton({row.name: row.values[number].mean for row in rows}, highest, report.skeleton),
        )
        for number, run in enumerate(report.runs)
    ]
    words = "MPJPE in mm of each joint. The person faces you, so the left arm is on the right."
    return joined([element("p", words), element("div", *drawn, class_="skeletons"), colour_bar(highest)])


def _heatmaps(report: Report) -> Html:
    if not report.heatmaps:
        return Html("")
    if report.worst:
        words = "Of the worst images, the joint that the first run misses by most"
    else:
        words = "Of the first images above, one joint"
    words += ": its heat map summed along each axis. A ring marks the expectation, a cross the truth where it is known."
    return section("heatmaps", "Heat maps", element("p", words), heatmaps_section(report))


def _curves(drawn: Mapping[str, Any]) -> Html:
    figures = [_figure(name) for name in ("error-curve", "loss-curve") if name in drawn]
    words = element("p", f"Against steps; of longer curves {charts.MOST_POINTS} points, evenly spaced, are drawn.")
    return section("curves", "Curves", words, element("div", *figures, class_="curves")) if figures else Html("")


def _figure(name: str) -> Html:
    return element("div", id=name, class_="figure chart")


def _configuration(report: Report) -> Html:
    parts: list[Html] = []
    if len(report.runs) > 1:
        differing = tables.differing_settings(report.runs)
        parts.append(element("p", "What differs:" if differing else "The configurations are the same."))
        parts += [differing] if differing else []
    return section("configuration", "Configuration and origin", *parts, *(tables.origin(run) for run in report.runs))
