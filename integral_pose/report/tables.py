"""What the tables of a report page hold; templates/tables.html lays them out."""

from collections.abc import Sequence
from typing import NamedTuple

from integral_pose.evaluation.comparison import Comparison, Row
from integral_pose.evaluation.intervals import Estimate
from integral_pose.evaluation.scores import mean_over_actions_mm
from integral_pose.evaluation.text_tables import above_mpjpe
from integral_pose.report.page_content import RunNotes

# Keys of `metrics.summarise`: what to call one, and what it is (docs/metrics.md).
METRIC_WORDS = {
    "mpjpe_mm": ("MPJPE", "after alignment of translation; the headline"),
    "n_mpjpe_mm": ("N-MPJPE", "after alignment of translation and scale"),
    "rigid_mpjpe_mm": ("rigid MPJPE", "after alignment of rotation and translation"),
    "pa_mpjpe_mm": ("PA-MPJPE", "after alignment of rotation, translation and scale"),
    "pck_150": ("PCK150", "share of joints nearer than 150 mm"),
    "auc": ("AUC", "mean of that share over 0, 5, .. 150 mm"),
    "x_mm": ("along x", "to the right of the picture"),
    "y_mm": ("along y", "down"),
    "z_mm": ("along z", "depth"),
    "bone_length_mm": ("bone length", "how much too long or short bones are"),
    "swapped_sides": ("swapped sides", "share of left and right pairs nearer to each other's place"),
    "sigma_mm": ("sigma", "predicted standard deviation along an axis, mean"),
    "within_1_sigma": ("within 1 sigma", "share of errors; 32.3 % claimed"),
    "within_2_sigma": ("within 2 sigma", "share of errors; 76.2 % claimed"),
    "calibration_error": ("calibration error", "mean distance of shares from claims"),
}


class MetricLine(NamedTuple):
    """One metric, runs side by side."""

    label: str
    meaning: str
    form: str  # of a number, for str.format
    row: Row


def metric_lines(comparison: Comparison) -> list[MetricLine]:
    """Every metric that all runs have, in the order of METRIC_WORDS, then the mean of the action means."""
    lines = []
    for name, (label, meaning) in METRIC_WORDS.items():
        row = comparison.distances.get(name) or _row(name, [run.metrics.get(name) for run in comparison.scores])
        if row:
            lines.append(MetricLine(label, meaning, "{:.1f} mm" if name.endswith("_mm") else "{:.1%}", row))
    row = _row("", [mean_over_actions_mm(run) for run in comparison.scores])
    if row:
        number = len(comparison.scores[0].per_action_mm)
        meaning = f"MPJPE, mean of the {number} action means"
        lines.append(MetricLine("mean over actions", meaning, "{:.1f} mm", row))
    return lines


def notes_on_metrics(comparison: Comparison) -> list[str]:
    """What a reader may stumble over."""
    return above_mpjpe([run.metrics for run in comparison.scores])


def run_heads(runs: Sequence[RunNotes], compares: bool, alone: str) -> list[str]:
    """Heads of a column a run, `alone` where there is one, and of the differences from the first."""
    heads = [run.name for run in runs] if len(runs) > 1 else [alone]
    return heads + ([f"{run.name} less the first" for run in runs[1:]] if compares else [])


def differing_settings(runs: Sequence[RunNotes]) -> dict[str, list[str]]:
    """The keys whose values are not the same in all runs, with the value of each run."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = {key: [run.settings.get(key, "-") for run in runs] for key in keys}
    return {key: found for key, found in values.items() if len(set(found)) > 1}


def _row(name: str, values: Sequence[float | None]) -> Row | None:
    """Means alone; None where a run has none."""
    known = [Estimate(value) for value in values if value is not None]
    return Row(name, known) if len(known) == len(values) else None
