"""Minutes into images: by hand, and on a step whose cost is known."""

from __future__ import annotations

import time

import pytest

from benchmarks import rates
from benchmarks.rates import images_for, measure_rate
from integral_pose.config.loading import load_config
from integral_pose.training.step import TrainStep


def tiny(tiny_yaml, *overrides):
    return load_config(str(tiny_yaml), overrides).config


@pytest.mark.parametrize(
    ("minutes", "images_per_s", "expected"),
    [
        (1.0, 10.0, 300),
        (0.5, 10.0, 152),
        (0.0001, 1.0, 4),
    ],  # 600 / 2 epochs; 37.5 batches of 4 round to 38; at least one
)
def test_images_for(tiny_yaml, minutes, images_per_s, expected):
    assert images_for(minutes, images_per_s, tiny(tiny_yaml)) == expected


@pytest.mark.usefixtures("tiny_backbone")
def test_a_stage_counts_by_its_epochs(tiny_yaml, monkeypatch):
    """Steps with the heat map loss are made to take 6 ms instead of 2: three of four epochs give (1 + 3 * 3) / 4."""
    busy_s = {0.0: 0.002, 1.0: 0.006}

    def step(self, batch, loss, learning_rate):
        end = time.process_time() + busy_s[loss.keywords["weights"].heatmap]
        while time.process_time() < end:
            pass

    monkeypatch.setattr(TrainStep, "__call__", step)
    monkeypatch.setattr(rates, "IMAGES_A_TURN", 16)
    reference = tiny(tiny_yaml, "stages=[{epochs: 2, learning_rate: 1e-3}, {epochs: 2, learning_rate: 1e-4}]")
    candidate = tiny(tiny_yaml, "stages=[{epochs: 1, learning_rate: 1e-3}, "
                     "{epochs: 3, learning_rate: 1e-3, weights: {integral: 1.0, heatmap: 1.0}}]")  # fmt: skip
    rate = measure_rate(candidate, reference, rounds=3)
    assert rate.ratio == pytest.approx(2.5, rel=0.4)  # the loading of the images is the rest
    assert 16 / (4 * 0.004) < rate.reference_images_per_s < 4 / 0.002
