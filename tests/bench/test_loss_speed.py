"""The forms that are compared compute the same, and the figures come from where they say."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from integral_pose.bench import loss_speed, measuring
from integral_pose.bench.loss_speed import FUSED, FUSED_INTEGRAL, PUBLISHED, Case, forms


@pytest.mark.parametrize("is_channels_last", [False, True])
def test_every_form_has_the_same_loss_and_gradient(is_channels_last: bool) -> None:
    case = Case("cpu", "float32", is_channels_last, batch=2, size=8)
    maps, joints_norm = case.logits().requires_grad_(), case.joints_norm()
    assert maps.is_contiguous(memory_format=torch.channels_last) == is_channels_last
    results = {}
    for name, form in forms().items():
        if name in (PUBLISHED, FUSED_INTEGRAL):  # cells counted from their edges; no heat map
            continue
        value = form(maps, joints_norm)
        results[name] = value.item(), torch.autograd.grad(value, maps)[0]
    expected_value, expected_gradient = results.pop(FUSED)
    for value, gradient in results.values():
        assert value == pytest.approx(expected_value, abs=1 / 16 / 8 * 3)  # the published half a cell
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=3e-4)


def test_the_worst_case_is_what_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(_: dict[str, str], work: object, case: Case, *__: object) -> dict[str, dict[str, float]]:
        if work is loss_speed.measure_peaks:
            return {FUSED: {"memory": 2.0 if case.is_channels_last else 1.0}}
        ratio = 0.5 if case.dtype == "bfloat16" else 0.25
        figures = {"seconds": 1.0, "vs_dense": ratio, "vs_published": 2 * ratio}
        return {FUSED: figures, FUSED_INTEGRAL: figures}

    monkeypatch.setattr(measuring, "in_own_process", measured)
    result: dict[str, Any] = loss_speed.measure_losses(torch.device("cpu"), batch=1, size=4, rounds=1)
    assert result["heatmap_vs_dense"] == 0.5
    assert result["integral_vs_published"] == 1.0
    assert result["memory_vs_logits"] == 2.0
    assert len(result["rows"]) == 8
    table = measuring.figures_table(result, loss_speed.MEANINGS)
    assert "bfloat16  True           integral, fused" in table
    assert "memory_vs_logits            2           peak of" in table
    json.dumps(result)
