"""`integral-pose bench loss`: what the two losses cost, forward and backward, from given logits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import torch

from integral_pose.bench import loss_forms
from integral_pose.bench.loss_forms import DENSE, FUSED, FUSED_INTEGRAL, PUBLISHED, Case
from integral_pose.bench.machine import describe_machine
from integral_pose.bench.own_process import MEMORY_ENVIRONMENT, TIMING_ENVIRONMENT, in_own_process

DTYPES = ("float32", "bfloat16")


def measure_losses(
    device: torch.device, batch: int, size: int, rounds: int, with_compiled: bool = True
) -> dict[str, Any]:
    """Every form on float32 and bfloat16 logits in both memory layouts; the worst of the four at top level.

    heatmap_vs_dense     fused integral and heat map loss over the best dense form, time
    heatmap_vs_published fused integral and heat map loss over the published integral loss alone, time
    integral_vs_published  fused integral loss over the published one, time
    memory_vs_logits     peak of the fused loss, its gradient included, over the logits as float32
    """
    rows: list[dict[str, Any]] = []
    for case in _cases(str(device), batch, size, rounds, with_compiled):
        timings = _measure(case, TIMING_ENVIRONMENT)
        peaks = _measure(replace(case, measures_memory=True), MEMORY_ENVIRONMENT)
        for form, figures in timings.items():
            place = {"dtype": case.dtype, "channels_last": case.is_channels_last, "form": form}
            rows.append({**place, **figures, **peaks.get(form, {})})
    return {
        "heatmap_vs_dense": _worst(rows, FUSED, "vs_dense"),
        "heatmap_vs_published": _worst(rows, FUSED, "vs_published"),
        "integral_vs_published": _worst(rows, FUSED_INTEGRAL, "vs_published"),
        "memory_vs_logits": _worst(rows, FUSED, "memory"),
        **describe_machine(device),
        "batch": batch,
        "size": size,
        "rows": rows,
    }


def loss_table(result: dict[str, Any]) -> str:
    """The figures as text."""
    size = result["size"]
    lines = [f"{result['device']}, {result['threads']} threads: {result['batch']} x 17 x {size}^3 logits"]
    header = f"{'':38}{'ms':>9}{'/ dense':>9}{'/ publ.':>9}{'memory':>9}"
    for dtype in DTYPES:
        for channels_last in (False, True):
            lines += ["", f"{dtype}, {'channels last' if channels_last else 'contiguous'}", header]
            chosen = [row for row in result["rows"] if (row["dtype"], row["channels_last"]) == (dtype, channels_last)]
            lines += [_line(row) for row in chosen]
    lines += ["", "dense: " + DENSE, "publ.: " + PUBLISHED, "memory: peak beside the logits, float32 logits = 1", ""]
    lines += [f"{key:22}{_figure(result[key])}" for key in result if "_vs_" in key]
    return "\n".join(lines)


def _cases(device: str, batch: int, size: int, rounds: int, with_compiled: bool) -> Iterator[Case]:
    for dtype in DTYPES:
        for channels_last in (False, True):
            yield Case(device, dtype, channels_last, batch, size, rounds, with_compiled, measures_memory=False)


def _measure(case: Case, environment: dict[str, str]) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = in_own_process(loss_forms.__name__, asdict(case), environment)
    return figures


def _worst(rows: list[dict[str, Any]], form: str, figure: str) -> float | None:
    figures = [row[figure] for row in rows if row["form"] == form and figure in row]
    return max(figures, default=None)


def _line(row: dict[str, Any]) -> str:
    ratios = f"{row['vs_dense']:9.3f}{row['vs_published']:9.3f}{_figure(row.get('memory')):>9}"
    return f"{row['form']:38}{row['seconds'] * 1e3:9.2f}{ratios}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
