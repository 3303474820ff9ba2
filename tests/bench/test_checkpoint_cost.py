"""`bench safety` on a network that steps and saves in no time: every figure is there, and hangs together."""

from __future__ import annotations

import json

import pytest

from integral_pose.bench import checkpoint_cost
from integral_pose.cli.main import main


def test_bench_safety(tmp_path, capsys, monkeypatch, tiny_backbone):
    monkeypatch.setattr("integral_pose.bench.step_speed.IMAGE_PX", 64)
    monkeypatch.setattr("integral_pose.bench.step_speed.DEPTH", 4)
    path = tmp_path / "found.json"
    command = ["bench", "safety", "--rounds", "1", "--batch", "2", "--minutes", "0.5", "--device", "cpu"]
    assert main([*command, "--dir", str(tmp_path), "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["wall_overhead"] == pytest.approx(found["extra_s"] / 30)
    assert found["most_extra_s"] == found["extra_s"]  # of one round
    assert found["steps_a_window"] * found["step_s"] > 0
    assert found["steps_a_window"] >= checkpoint_cost.LEAST_STEPS
    assert 0 < found["waits_s"] < 1
    assert found["bytes"] > 1e6
    assert "the training waits for the copy" in capsys.readouterr().out
    assert [entry.name for entry in tmp_path.iterdir()] == ["found.json"]
