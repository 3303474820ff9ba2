"""Results as files and as text for the terminal. The CSV's form is in `predictions_csv`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from integral_pose.contracts import Scores
from integral_pose.errors import DataError
from integral_pose.evaluation.evaluator import OTHER, mean_over_actions_mm
from integral_pose.evaluation.predictions_csv import (
    read_predictions_csv,
    write_confidence_csv,
    write_predictions_csv,
)
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.untrusted import read_regular

__all__ = [
    "comparison_table",
    "read_predictions_csv",
    "read_scores_json",
    "scores_table",
    "write_confidence_csv",
    "write_predictions_csv",
    "write_scores_json",
]

LARGEST_JSON_BYTES = 10_000_000
MEAN_OVER_ACTIONS = "mean_over_actions_mm"


def write_scores_json(path: str | os.PathLike[str], scores: Scores, extra: Mapping[str, Any] | None = None) -> None:
    """Write the fields of `scores`, the mean of the action means, and those of `extra` (checkpoint, command, ..).

    Raises ValueError where both have a field of the same name, DataError for NaN, which JSON does not know.
    """
    own = {**asdict(scores), MEAN_OVER_ACTIONS: mean_over_actions_mm(scores)}
    doubled = own.keys() & (extra or {}).keys()
    if doubled:
        raise ValueError(f"extra has fields that the scores have too: {', '.join(sorted(doubled))}")
    try:
        text = json.dumps({**own, **(extra or {})}, indent=2, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        raise DataError(f"{path}: not written, a score is NaN or infinite ({error})") from error
    write_text_atomic(path, text + "\n")


def read_scores_json(path: str | os.PathLike[str]) -> tuple[Scores, dict[str, Any]]:
    """What `write_scores_json` wrote: the scores and what stands beside them. Raises DataError for anything else."""
    names = {field.name for field in fields(Scores)}
    try:
        found = json.loads(read_regular(path, LARGEST_JSON_BYTES))
        scores = Scores(**{name: value for name, value in found.items() if name in names})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: holds no scores of this program ({error}); write it anew with: test") from None
    groups = (scores.per_joint_mm, scores.per_action_mm, scores.per_subject_mm, scores.per_camera_mm, scores.metrics)
    numbers = [scores.mpjpe_mm, scores.pa_mpjpe_mm, *(value for group in groups for value in group.values())]
    if not all(isinstance(number, int | float) for number in numbers):
        raise DataError(f"{path}: a score is no number; write it anew with: test")
    return scores, {name: value for name, value in found.items() if name not in names | {MEAN_OVER_ACTIONS}}


def scores_table(scores: Scores) -> str:
    """The scores as plain text: overall, then groups and joints side by side."""
    columns = [
        _column(title, values)
        for title, values in (
            ("action", scores.per_action_mm),
            ("subject", scores.per_subject_mm),
            ("camera", scores.per_camera_mm),
            ("joint", scores.per_joint_mm),
        )
        if values
    ]
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
        parts = [f"along x {found['x_mm']:.2f}   y {found['y_mm']:.2f}   z {found['z_mm']:.2f} mm"]
        if "bone_length_mm" in found:
            parts.append(f"bone length {found['bone_length_mm']:.2f} mm")
        if "swapped_sides" in found:
            parts.append(f"sides swapped {found['swapped_sides']:.1%}")
        lines.append("   ".join(parts))
    return lines


def comparison_table(rows: Sequence[Mapping[str, str | float | None]]) -> str:
    """Rows as a Markdown table with the keys of the first as its header; numbers to two places, None as `-`.

    Raises ValueError where a row has other keys.
    """
    if not rows:
        return ""
    header = list(rows[0])
    for number, row in enumerate(rows, start=1):
        if list(row) != header:
            raise ValueError(f"row {number} has the columns {', '.join(row)}; the first: {', '.join(header)}")
    table = [header, *([_cell(row[name]) for name in header] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(header))]
    numeric = [all(not isinstance(row[name], str) for row in rows) for name in header]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        + " |"
        for line in table
    ]
    rule = "|".join("-" * (w + 1) + ":" if right else "-" * (w + 2) for w, right in zip(widths, numeric, strict=True))
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]]) + "\n"


def _column(title: str, values_mm: Mapping[str, float]) -> list[str]:
    """Lines of equal width: the title, then one a value."""
    width = max(len(title), *(len(name) for name in values_mm))
    return [
        f"{title:<{width}} {'mm':>7}",
        *(f"{name:<{width}} {value:>7.2f}" for name, value in values_mm.items()),
    ]


def _cell(value: str | float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
