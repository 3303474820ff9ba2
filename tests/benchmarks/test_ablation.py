"""The commands round a benchmark: which rows, what repeats them, and one approach within minutes."""

from __future__ import annotations

import json
import os

import pytest

from benchmarks import ablation as module
from benchmarks.__main__ import main
from benchmarks.approaches import APPROACHES
from benchmarks.trials import TRIALS


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What a command would run, instead of running it."""
    calls = []

    def run(benchmark, candidates):
        calls.append((benchmark, candidates))
        return {"rows": [], "minutes": benchmark.minutes}

    monkeypatch.setattr(module, "run_benchmark", run)
    monkeypatch.setattr(module, "page", lambda folder: "the page")
    monkeypatch.chdir(tmp_path)
    return calls


def test_the_small_ablation(asked, tmp_path, capsys):
    assert main(["ablation", "--small", "--out", "results"]) == 0
    benchmark, candidates = asked[0]
    assert [candidate.name for candidate in candidates] == [approach.name for approach in APPROACHES]
    assert (benchmark.minutes, benchmark.num_seeds, benchmark.scored_on) == (2.0, 3, "test")
    assert str(benchmark.data) == "data/synthetic-2"
    content = json.loads((tmp_path / "results/ablation-synthetic-2-64px.json").read_text())
    assert content["command"] == "scripts/ablation.sh --small --seeds 3 --minutes 2"
    assert "the page" in capsys.readouterr().out


def test_trials_hold_a_subject_out(asked, tmp_path):
    main(["trials", "--small", "--seeds", "1", "--minutes", "2", "--only", "rate-4e-3", "published-bf16"])
    benchmark, candidates = asked[0]
    assert {candidate.name for candidate in candidates} == {"integral", "published", "rate-4e-3", "published-bf16"}
    assert (benchmark.scored_on, benchmark.overrides) == ("held-out", ("data.val_subjects=[S8]",))
    content = json.loads((tmp_path / "docs/results/trials-synthetic-2-64px.json").read_text())
    assert content["command"] == (
        "python -m benchmarks trials --small --seeds 1 --minutes 2 --only rate-4e-3 published-bf16"
    )
    assert len({trial.name for trial in TRIALS}) == len(TRIALS)


def test_another_data_set_at_the_large_size(asked, tmp_path):
    main(["ablation", "--data", "/data/h36m", "--name", "human36m", "--minutes", "600", "--set", "seed=1"])
    benchmark, _ = asked[0]
    assert benchmark.overrides[-1] == "seed=1"
    assert "model.backbone=resnet50" in benchmark.overrides
    content = json.loads((tmp_path / "docs/results/ablation-human36m.json").read_text())
    assert content["command"] == "scripts/ablation.sh --seeds 3 --minutes 600 --set seed=1"


def test_an_unknown_row(asked, capsys):
    assert main(["ablation", "--only", "integrall"]) == 2
    assert "--only: unknown integrall. Known: regression, integral," in capsys.readouterr().err


@pytest.mark.usefixtures("tiny_backbone")
def test_one_approach_within_its_minutes(tiny_yaml, course_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # no workers
    assert main(["gpu_train", str(tiny_yaml), "0.05", "--small", "--device", "cpu", "--data", str(course_root),
                 "--out", str(tmp_path / "found.json"), "stages.0.epochs=1"]) == 0  # fmt: skip
    found = json.loads((tmp_path / "found.json").read_text())
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == found["line"]
    assert line.startswith(f"tiny: MPJPE {found['run']['mpjpe_mm']:.1f} mm, PA-MPJPE ")
    assert found["run"]["images"] % 4 == 0  # whole batches
    assert found["images_per_s_measured"] > 0
