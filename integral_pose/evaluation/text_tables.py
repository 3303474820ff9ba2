"""Scores and comparisons as text: for the terminal, and as Markdown."""

import math
from collections.abc import Mapping, Sequence

from integral_pose.contracts import Scores
from integral_pose.evaluation.calibration import share_claimed
from integral_pose.evaluation.scores import GROUPS, OTHER, mean_over_actions_mm


def scores_table(scores: Scores) -> str:
    """The scores as plain text: overall, then groups and joints side by side."""
    groups = {kind: getattr(scores, f"per_{kind}_mm") for kind in (*GROUPS, "joint")}
    columns = [_column(kind, values) for kind, values in groups.items() if values]
    height = max((len(column) for column in columns), default=0)
    padded = [column + [" " * len(column[0])] * (height - len(column)) for column in columns]
    lines = ["    ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
    return "\n".join([*_overall(scores), *([""] if lines else []), *lines]) + "\n"


def _overall(scores: Scores) -> list[str]:
    lines = [f"MPJPE {scores.mpjpe_mm:.2f} mm   PA-MPJPE {scores.pa_mpjpe_mm:.2f} mm   {scores.num_samples} images"]
    if scores.interval_mm:
        low, high = scores.interval_mm
        lines.append(f"95 % interval of the MPJPE {low:.2f} to {high:.2f} mm, over {scores.num_sequences} sequences")
    over_actions = mean_over_actions_mm(scores)
    if over_actions is not None:
        actions = len(scores.per_action_mm.keys() - {OTHER})
        lines.append(
            f"mean over frames {scores.mpjpe_mm:.2f} mm   mean of the {actions} action means {over_actions:.2f} mm"
        )
    found = scores.metrics
    if found:
        lines.append(f"N-MPJPE {found['n_mpjpe_mm']:.2f} mm   rigid {found['rigid_mpjpe_mm']:.2f} mm   "
                     f"PCK150 {found['pck_150']:.1%}   AUC {found['auc']:.1%}")  # fmt: skip
        lines.append(f"along x {found['x_mm']:.2f}   y {found['y_mm']:.2f}   z {found['z_mm']:.2f} mm")
        parts = []
        if "bone_length_mm" in found:
            parts.append(f"bone length {found['bone_length_mm']:.2f} mm")
        if "swapped_sides" in found:
            parts.append(f"sides swapped {found['swapped_sides']:.1%}")
        lines += ["   ".join(parts)] if parts else []
        lines += above_mpjpe([found])
        lines += calibration_lines(found)
    return lines


def above_mpjpe(metrics: Sequence[Mapping[str, float]]) -> list[str]:
    """A line on the aligned errors that are larger than the MPJPE in any of some scores; [] where none is."""
    labels = {"n_mpjpe_mm": "N-MPJPE", "rigid_mpjpe_mm": "rigid MPJPE", "pa_mpjpe_mm": "PA-MPJPE"}
    found = [
        label
        for key, label in labels.items()
        if any(each.get(key, 0.0) > each.get("mpjpe_mm", math.inf) + 0.005 for each in metrics)  # as printed
    ]
    if not found:
        return []
    return [
        f"{', '.join(found)} above MPJPE is no fault: an alignment makes the\n"
        "squared distances of each image least, and their mean may rise by it"
    ]


def calibration_lines(metrics: Mapping[str, float]) -> list[str]:
    """On the standard deviations among the metrics of scores; [] where there are none."""
    if "sigma_mm" not in metrics:
        return []
    claimed_1, claimed_2 = share_claimed([1, 2])
    return [
        f"sigma {metrics['sigma_mm']:.2f} mm on average   calibration error {metrics['calibration_error']:.3f}",
        f"errors within 1 sigma {metrics['within_1_sigma']:.1%} ({claimed_1:.1%} claimed), "
        f"within 2 {metrics['within_2_sigma']:.1%} ({claimed_2:.1%})",
    ]


def markdown_table(rows: Sequence[Mapping[str, str | float | None]]) -> str:
    """Rows as a Markdown table with the keys of the first as its header; numbers to two places, None as `-`.

    Raises ValueError where a row has other keys.
    """
    if not rows:
        return ""
    header = list(rows[0])
    for number, row in enumerate(rows, start=1):
        if list(row) != header:
            raise ValueError(f"row {number} has the columns {', '.join(row)}; the first: {', '.join(header)}")
    cells = [header, *([_cell(row[name]) for name in header] for row in rows)]
    columns = []
    for name, column in zip(header, zip(*cells, strict=True), strict=True):
        width = max(map(len, column))
        alignment, end = ("<", "-") if any(isinstance(row[name], str) for row in rows) else (">", ":")
        title, *values = [f" {cell:{alignment}{width}} " for cell in column]
        columns.append([title, "-" * (width + 1) + end, *values])
    return "".join(f"|{'|'.join(line)}|\n" for line in zip(*columns, strict=True))


def _column(title: str, values_mm: Mapping[str, float]) -> list[str]:
    """Lines of equal width: the title, then one a value."""
    width = max(len(title), *(len(name) for name in values_mm))
    return [f"{title:<{width}} {'mm':>7}", *(f"{name:<{width}} {value:>7.2f}" for name, value in values_mm.items())]


def _cell(value: str | float | None) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "-" if value is None else str(value)
