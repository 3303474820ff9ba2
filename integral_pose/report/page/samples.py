"""The shown test images: a card each, and the skeleton that the mouse turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.report.page.content import Report, Sample
from integral_pose.report.page.markup import Html, drawing, element, folded, joined, photograph
from integral_pose.report.page.poses import flat_view, overlay
from integral_pose.report.pose_figures import fit_weak_perspective
from integral_pose.skeleton import Skeleton

X_AXIS, DEPTH_AXIS = 0, 2


def samples_section(report: Report) -> Html:
    """Cards of the worst and of random images beside the 3D figure, and the choice of the run that is drawn."""
    first = report.runs[0].name
    groups = [
        (f"The {len(report.worst)} worst images of {first}", report.worst, 0),
        (f"{len(report.random)} images drawn at random", report.random, len(report.worst)),
    ]
    cards = [
        joined([
            element("h3", title),
            element("div", *(_card(sample, start + i, report.skeleton) for i, sample in enumerate(samples)),
                    class_="cards"),
        ])
        for title, samples, start in groups
        if samples
    ]  # fmt: skip
    viewer = element(
        "div",
        _run_choice(report),
        element("p", id="pose-name", aria_live="polite"),
        element("div", id="pose3d", class_="figure"),
        _legend(has_truth=any(sample.true_mm is not None for sample in _all(report))),
        class_="viewer",
    )
    return joined([_explanation(report), element("div", element("div", *cards), viewer, class_="samples")])


def samples_data(report: Report) -> list[dict[str, Any]]:
    """What the page's program needs to draw them in space: whole mm, as JSON."""
    return [
        {
            "name": sample.name,
            "truth": None if sample.true_mm is None else _whole_mm(sample.true_mm),
            "predicted": [_whole_mm(pose) for pose in sample.predicted_mm],
            "errors": [round(float(error), 1) for error in sample.errors_mm],
        }
        for sample in _all(report)
    ]


def heatmaps_section(report: Report) -> Html:
    """Marginals of the heat maps, the runs of one image below each other; the first image is open."""
    blocks = []
    for number, view in enumerate(report.heatmaps):
        words = f"Marginals of the heat map of {view.joint} in {view.sample_name}"
        figures = []
        for run, picture in view.pictures.items():
            caption = element("figcaption", run) if len(report.runs) > 1 else Html("")
            figures.append(element("figure", caption, drawing(picture, f"{words}, {run}"), class_="heatmap"))
        blocks.append(folded(f"{view.joint} in {view.sample_name}", *figures, is_open=number == 0))
    return joined(blocks)


def _card(sample: Sample, number: int, skeleton: Skeleton) -> Html:
    views = [_photo(sample, skeleton)] if sample.picture is not None else []
    if sample.true_picture_px is None or sample.picture is None:
        views.append(flat_view(X_AXIS, sample.true_mm, sample.predicted_mm, skeleton))
    views.append(flat_view(DEPTH_AXIS, sample.true_mm, sample.predicted_mm, skeleton))
    errors = [
        element("b", f"{error:.0f} mm ", data_run=run, style="display:none" if run else None)
        for run, error in enumerate(sample.errors_mm)
    ]
    caption = element("span", *errors, sample.name, class_="caption")
    return element("button", element("span", *views, class_="views"), caption, type="button", class_="card",
                   data_sample=number, aria_pressed="false")  # fmt: skip


def _photo(sample: Sample, skeleton: Skeleton) -> Html:
    assert sample.picture is not None, "asked for where there is one"
    lines = Html("")
    if sample.true_picture_px is not None:
        fitted = [fit_weak_perspective(pose, sample.true_picture_px) for pose in sample.predicted_mm]
        lines = overlay(sample.true_picture_px, fitted, sample.picture.shape[1], skeleton)
    return element("span", photograph(sample.picture, f"test image {sample.name}"), lines, class_="photo")


def _explanation(report: Report) -> Html:
    shown = _all(report)
    words = []
    if any(sample.true_picture_px is not None for sample in shown):
        words.append("Over each picture lie the true joints (thin, dashed) and the prediction (thick). A prediction in "
                     "millimetres knows no pixels: it is scaled and moved to fit the true joints.")  # fmt: skip
    elif any(sample.picture is not None for sample in shown):
        words.append("Beside each picture stands the prediction as the camera sees it.")
    words.append("The last drawing of a card is the same from the side, with depth to the right. Choose a card to turn "
                 "its skeleton with the mouse.")  # fmt: skip
    return element("p", " ".join(words))


def _run_choice(report: Report) -> Html:
    """Which run is drawn; nothing to choose where there is one."""
    if len(report.runs) == 1:
        return Html("")
    options = [element("option", run.name, value=number) for number, run in enumerate(report.runs)]
    return element("label", "run drawn ", element("select", *options, id="run-choice"))


def _legend(*, has_truth: bool) -> Html:
    sides = [element("span", side, class_=f"key key-{side}") for side in ("right", "left", "middle")]
    truth = [element("span", "prediction", class_="key key-solid"), element("span", "truth", class_="key key-dashed")]
    return element("p", *sides, *(truth if has_truth else []), class_="legend")


def _all(report: Report) -> Sequence[Sample]:
    return [*report.worst, *report.random]


def _whole_mm(pose_mm: NDArray[Any]) -> list[list[int]]:
    rounded: list[list[int]] = np.rint(pose_mm).astype(int).tolist()
    return rounded
