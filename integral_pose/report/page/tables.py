"""The tables of a report page: headline, metrics, groups, configuration, where the runs came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from integral_pose.contracts import Scores
from integral_pose.evaluation.comparison import Comparison, Estimate, Row
from integral_pose.evaluation.scores import mean_over_actions_mm
from integral_pose.report.page.content import RunNotes
from integral_pose.report.page.markup import Html, element, folded, joined, table

# Keys of `metrics.summarise`: what to call one, and what it forgives or means (docs/metrics.md).
METRIC_WORDS = {
    "mpjpe_mm": ("MPJPE", "forgives translation; the headline"),
    "n_mpjpe_mm": ("N-MPJPE", "forgives translation and one factor"),
    "rigid_mpjpe_mm": ("rigid MPJPE", "forgives rotation and translation"),
    "pa_mpjpe_mm": ("PA-MPJPE", "forgives rotation, translation and one factor"),
    "pck_150": ("PCK150", "share of joints nearer than 150 mm"),
    "auc": ("AUC", "mean of that share over 0, 5, .. 150 mm"),
    "x_mm": ("along x", "to the right of the picture"),
    "y_mm": ("along y", "down"),
    "z_mm": ("along z", "depth"),
    "bone_length_mm": ("bone length", "how much too long or short bones are"),
    "swapped_sides": ("swapped sides", "share of left and right pairs nearer to each other's place"),
}
MOST_STARTS = 20  # of a run, in the table of its origin


def summary(runs: Sequence[RunNotes], comparison: Comparison) -> Html:
    """A line a run: error, interval, difference from the first, share of the mean pose's error."""
    distances = {row.name: row for row in comparison.distances}
    main, aligned = distances.get("mpjpe_mm"), distances.get("pa_mpjpe_mm")
    compares = bool(main and main.differences)
    head = ["run", "MPJPE (mm)", "95 % interval", "PA-MPJPE (mm)"]
    head += ["less the first (mm)", "95 % of that"] if compares else []
    lines = []
    for number, (run, scores) in enumerate(zip(runs, comparison.scores, strict=True)):
        value = main.values[number] if main else Estimate(scores.mpjpe_mm)
        line = [run.name, element("strong", f"{value.mean:.1f}"), _bounds(value)]
        line.append(f"{(aligned.values[number].mean if aligned else scores.pa_mpjpe_mm):.1f}")
        if compares and main:
            line += ["", ""] if number == 0 else [*_difference(main.differences[number - 1])]
        lines.append([*line, _share_of_mean_pose(run, scores)])
    return table([*head, "of the mean pose's error"], lines)


def metrics(runs: Sequence[RunNotes], comparison: Comparison) -> Html:
    """Every metric with what it means, runs side by side."""
    found = {row.name: row for row in comparison.distances}
    has_differences = any(row.differences for row in comparison.distances)
    lines: list[list[str]] = []
    for name, (label, meaning) in METRIC_WORDS.items():
        values = [scores.metrics.get(name) for scores in comparison.scores]
        if name in found:
            lines.append([_explained(label, meaning), *_row_cells(found[name], has_differences, unit=" mm")])
        elif all(value is not None for value in values):
            written = [_metric(name, value) for value in values if value is not None]
            lines.append([_explained(label, meaning), *written, *([""] * (len(runs) - 1) if has_differences else [])])
    over_actions = [mean_over_actions_mm(scores) for scores in comparison.scores]
    if all(value is not None for value in over_actions):
        number = len(comparison.scores[0].per_action_mm)
        cells = [f"{value:.1f} mm" for value in over_actions]
        blank = [""] * (len(runs) - 1) if has_differences else []
        lines.append([_explained("mean over actions", f"MPJPE, mean of the {number} action means"), *cells, *blank])
    return table(["", *_run_heads(runs, has_differences, alone="")], lines)


def group(kind: str, rows: Sequence[Row], runs: Sequence[RunNotes]) -> Html:
    """MPJPE by joint, action, subject or camera, with differences from the first run where frames are known."""
    has_differences = bool(rows[0].differences)
    counts = [row.num_frames is not None for row in rows]
    head = [kind, *(["images", "sequences"] if any(counts) and kind != "joint" else [])]
    lines = [
        [row.name, *(_counts(row) if len(head) > 1 else []), *_row_cells(row, has_differences)] for row in rows
    ]  # fmt: skip
    return table([*head, *_run_heads(runs, has_differences)], lines)


def differing_settings(runs: Sequence[RunNotes]) -> Html | None:
    """The keys whose values are not the same in all runs; None where all are."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    differing = [key for key in keys if len({run.settings.get(key) for run in runs}) > 1]
    if not differing:
        return None
    lines = [[element("code", key), *(run.settings.get(key, "-") for run in runs)] for key in differing]
    return table(["key", *(run.name for run in runs)], lines, texts=len(runs) + 1)


def origin(run: RunNotes) -> Html:
    """Its checkpoint, starts and whole configuration, folded."""
    starts = run.starts[-MOST_STARTS:]
    left_out = len(run.starts) - len(starts)
    parts: list[str] = [element("p", "Checkpoint ", element("code", run.checkpoint))]
    if left_out:
        parts.append(element("p", f"The first {left_out} of its {len(run.starts)} starts are left out."))
    parts += [_start(number, start) for number, start in enumerate(starts, start=left_out + 1)]
    parts.append(folded("configuration, resolved", element("pre", run.config_yaml)))
    return folded(run.name, *parts)


def _start(number: int, start: Mapping[str, Any]) -> Html:
    """One start of a run, an entry of provenance.json; a mapping inside is written on one line."""
    lines: list[list[str]] = []
    for key, value in start.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
        lines.append([key.replace("_", " "), element("code", text or "none")])
    return joined([element("h4", f"start {number}"), table(["", ""], lines, texts=2)])


def _share_of_mean_pose(run: RunNotes, scores: Scores) -> str:
    if not run.mean_pose_mpjpe_mm:
        return "-"
    return f"{scores.mpjpe_mm / run.mean_pose_mpjpe_mm:.2f} of {run.mean_pose_mpjpe_mm:.1f} mm"


def _explained(label: str, meaning: str) -> Html:
    return joined([label, " ", element("small", meaning, class_="meaning")])


def _run_heads(runs: Sequence[RunNotes], has_differences: bool, alone: str = "MPJPE (mm)") -> list[str]:
    heads = [run.name for run in runs] if len(runs) > 1 else [alone]
    return heads + ([f"{run.name} less the first" for run in runs[1:]] if has_differences else [])


def _row_cells(row: Row, has_differences: bool, unit: str = "") -> list[str]:
    values: list[str] = [joined([f"{value.mean:.1f}{unit} ", _interval(value)]) for value in row.values]
    if has_differences:
        values += [joined([cell, " ", bounds]) for cell, bounds in map(_difference, row.differences)]
    return values


def _metric(name: str, value: float) -> str:
    return f"{value:.1f} mm" if name.endswith("_mm") else f"{value:.1%}"


def _counts(row: Row) -> list[str]:
    return ["-" if number is None else f"{number:,}" for number in (row.num_frames, row.num_sequences)]


def _bounds(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "-"
    return f"{estimate.low:.1f} to {estimate.high:.1f}"


def _interval(estimate: Estimate) -> Html:
    if estimate.low is None or estimate.high is None:
        return Html("")
    return element("small", f"[{estimate.low:.1f}, {estimate.high:.1f}]")


def _difference(estimate: Estimate) -> tuple[Html, Html]:
    """The difference and its bounds; marked in words and colour where the interval leaves out 0."""
    verdict = ("better" if estimate.mean < 0 else "worse") if estimate.excludes_zero else None
    number = element("span", f"{estimate.mean:+.1f}" + (f" {verdict}" if verdict else ""), class_=verdict)
    if estimate.low is None or estimate.high is None:
        return number, Html("")
    return number, element("small", f"[{estimate.low:+.1f}, {estimate.high:+.1f}]")
