"""The figures of `bench step`, of networks small enough for a test."""

import pytest
import torch

from integral_pose.bench import step_speed
from integral_pose.bench.step_speed import MEANINGS, OURS, OURS_MASKED, random_batch, time_steps, with_missing_labels

SECONDS = {OURS: [2.0, 4.0, 2.0], OURS_MASKED: [2.02, 4.2, 2.02]}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(step_speed, "IMAGE_PX", 32)
    monkeypatch.setattr(step_speed, "DEPTH", 4)


@pytest.mark.usefixtures("small", "tiny_backbone")
def test_the_cost_of_masks_is_that_of_the_step_after_ours_in_the_same_round(monkeypatch):
    asked = []

    def interleaved(steps, device, *, rounds, warm_up):
        asked.extend(steps)
        return {name: SECONDS.get(name, [1.0] * rounds) for name in steps}

    monkeypatch.setattr(step_speed.measuring, "interleaved", interleaved)
    found = time_steps(2, 3, "cpu", "off")
    assert asked[asked.index(OURS) + 1] == OURS_MASKED
    assert found["mask_overhead"] == pytest.approx(0.01)  # the median of 1.01, 1.05 and 1.01, less 1
    assert found["out_of_memory"] == []
    assert "mask_overhead" in MEANINGS


@pytest.mark.usefixtures("small")
def test_a_third_of_the_labels_is_missing_and_none_of_the_root():
    whole = random_batch(2, torch.device("cpu"))
    masked = with_missing_labels(whole)
    missing = masked.joints_camera_mm.isnan().all(-1)
    assert missing.sum(1).tolist() == [6, 6]
    assert not missing[:, 0].any()
    assert (masked.is_complete, whole.is_complete) == (False, True)
    assert not whole.joints_camera_mm.isnan().any()
