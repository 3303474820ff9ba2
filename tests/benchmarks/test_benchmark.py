"""A benchmark from files to JSON, stopped and continued; nothing is trained twice."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext

import pytest

from benchmarks import benchmark as module
from benchmarks import one_run
from benchmarks.benchmark import Benchmark, Candidate, images_per_s, run_benchmark, what_is_missing
from benchmarks.rates import Rate
from integral_pose.config.loading import load_config
from integral_pose.errors import CheckpointError
from integral_pose.runs.stop import StopSignal


@pytest.fixture
def here(monkeypatch):
    """Runs happen in this process, and every rate but the reference's is half of it."""
    started = []

    def start(command, stdout=None):
        assert command[1:3] == ["-m", "benchmarks.one_run"]
        started.append(command[3].rpartition("/small/")[2])
        one_run.main(command[3:])

    # Signals go to the main thread, which a run has only in a process of its own.
    monkeypatch.setattr("integral_pose.experiment.training.stop_signal", lambda _: nullcontext(StopSignal()))
    monkeypatch.setattr(module, "_run_process", start)
    monkeypatch.setattr(module, "_measure_in_own_process", lambda *_: Rate(ratio=2.0, reference_images_per_s=2.0))
    return started


@pytest.fixture
def candidates(tiny_yaml):
    return [
        Candidate("integral", "the reference", str(tiny_yaml)),
        Candidate("costly", "a change", str(tiny_yaml), ("seed=0", "loss.joints=l2")),
        Candidate("pretrained", "with weights", str(tiny_yaml), ("model.pretrained=nowhere.pth",)),
    ]


@pytest.fixture
def small(course_root, tmp_path):
    return Benchmark("a set", course_root, tmp_path / "small", ("data.val_subjects=[S8]",), 0.1, 2, "held-out")


@pytest.mark.usefixtures("tiny_backbone")
def test_from_files_to_json_and_on_from_where_it_stopped(here, candidates, small, tmp_path):
    content = run_benchmark(small, candidates)
    assert here == [f"held-out/{name}/seed{seed}.json" for seed in (0, 1) for name in ("integral", "costly")]
    reference, costly, pretrained = content["rows"]
    # 0.1 min at 2 and at 1 images a second, over 2 epochs in batches of 4: 6 and 3 images, so 8 (2 batches) and 4.
    assert [run["images"] for run in reference["runs"] + costly["runs"]] == [16, 16, 8, 8]
    assert [run["seed"] for run in costly["runs"]] == [0, 1]
    assert (pretrained["runs"], pretrained["missing"]) == ([], "its weights are not here (nowhere.pth)")
    assert costly["runs"][0]["mpjpe_mm"] != costly["runs"][1]["mpjpe_mm"] != reference["runs"][1]["mpjpe_mm"]
    assert sum(count for count, _, _ in costly["runs"][0]["sequences"].values()) == 2  # those of S8

    (tmp_path / "small/held-out/costly/seed1.json").unlink()
    del here[:]
    again = run_benchmark(small, candidates)
    assert here == ["held-out/costly/seed1.json"]
    assert again["rows"][1]["runs"][1]["sequences"] == costly["runs"][1]["sequences"]
    assert json.loads(json.dumps(again)) == again


def test_a_candidate_of_the_same_cost_is_not_measured(candidates):
    rates = {"reference_images_per_s": 100.0, "ratios": {"integral": 1.0, "costly": 4.0}}
    assert images_per_s(rates, candidates[1]) == 25.0
    assert images_per_s(rates, Candidate("new", "", "x.yaml", costs_as="costly")) == 25.0


def test_a_run_that_fails_leaves_those_not_begun(monkeypatch, candidates, small):
    begun = []

    def start(command, stdout=None):
        begun.append(command[3])
        time.sleep(0.05)
        raise CheckpointError("ended with status 3")

    monkeypatch.setattr(module, "_run_process", start)
    monkeypatch.setattr(module, "_measure_in_own_process", lambda *_: Rate(1.0, 2.0))
    with pytest.raises(CheckpointError, match="ended with status 3"):
        run_benchmark(small, candidates)
    assert len(begun) < 4


def test_a_process_that_fails_is_named(small):
    with pytest.raises(
        CheckpointError, match=r"ended with status 7; its message is above\. The same command continues"
    ):
        module._run_process([module.sys.executable, "-c", "raise SystemExit(7)"])


def test_weights_that_are_missing(tiny_yaml, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert what_is_missing(load_config(str(tiny_yaml)).config) == ""
    config = load_config(str(tiny_yaml), ["model.pretrained=imagenet"]).config
    assert what_is_missing(config) == "its weights are not here (resnet18-f37072fd.pth)"
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    (tmp_path / "hub/checkpoints/resnet18-f37072fd.pth").touch()
    assert what_is_missing(config) == ""
