"""Runs approaches on a named set of pictures: the same time and seeds each, resumable, one JSON with every run.

A run folder is `runs/SCORED_ON/NAME/seedK`; a run is done where the JSON of that name is beside it. Rates, and so
budgets, are measured once and kept in `runs/rates.json`: a continued benchmark is the same benchmark.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.approaches import REFERENCE
from benchmarks.rates import Rate, images_for
from integral_pose.bench.measuring import TIMING_ENVIRONMENT
from integral_pose.config.loading import load_config
from integral_pose.config.schema import Config
from integral_pose.data.course import read_test
from integral_pose.errors import CheckpointError, ConfigError
from integral_pose.experiment.scoring import mean_pose_scores
from integral_pose.io.atomic import write_text_atomic
from integral_pose.models.backbones.resnet import RESNETS
from integral_pose.synthetic.dataset import render_preset

ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Candidate:
    """What is trained: a file and the changes to it."""

    name: str
    title: str
    config: str  # path of the YAML file
    changes: tuple[str, ...] = ()
    against: str = REFERENCE  # the candidate it is compared with
    costs_as: str | None = None  # the candidate whose rate is its own too: the same work a step, so none is measured


@dataclass(frozen=True)
class Benchmark:
    """On what, and for how long."""

    preset: str
    data: Path
    runs: Path
    overrides: tuple[str, ...]  # of every candidate
    minutes: float
    num_seeds: int
    scored_on: str  # 'test', or 'held-out' for the subjects that the overrides leave out of training
    jobs: int = 1

    def load(self, candidate: Candidate, *more: str) -> Config:
        """The configuration of a candidate."""
        return load_config(candidate.config, [*self.changes(candidate), *more]).config

    def changes(self, candidate: Candidate) -> list[str]:
        """All overrides of a candidate but those of a run."""
        return [*self.overrides, f"data.root={self.data}", *candidate.changes]

    def command(self, candidate: Candidate, seed: int, epoch_images: int) -> list[str]:
        """The run as a process."""
        result = self.result(candidate, seed)
        return [
            sys.executable, "-m", "benchmarks.one_run", str(result), self.scored_on, candidate.config,
            *self.changes(candidate), f"seed={seed}", f"run_dir={result.with_suffix('')}",
            f"data.epoch_images={epoch_images}",
        ]  # fmt: skip

    def result(self, candidate: Candidate, seed: int) -> Path:
        """The JSON of a run; its folder has the same name without the ending."""
        return self.runs / self.scored_on / candidate.name / f"seed{seed}.json"

    def read_runs(self, candidate: Candidate) -> list[dict[str, Any]]:
        """What its runs have written, a seed after the other."""
        return [json.loads(self.result(candidate, seed).read_text("utf-8")) for seed in range(self.num_seeds)]


def chosen(candidates: Sequence[Candidate], only: Sequence[str] | None) -> list[Candidate]:
    """All, or those named and what they are compared with. Raises ConfigError for an unknown name."""
    known = {candidate.name: candidate for candidate in candidates}
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise ConfigError(f"--only: unknown {', '.join(unknown)}. Known: {', '.join(known)}")
    wanted = {*only, *(known[name].against for name in only)} if only else known.keys()
    return [candidate for candidate in candidates if candidate.name in wanted]


def run_benchmark(benchmark: Benchmark, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Train and score what is not done yet; returns what the JSON holds. Candidates whose weights are not here are
    named with the reason. Raises CheckpointError where a run fails, whose own message is on the terminal above it.
    """
    if not benchmark.data.exists():
        render_preset(benchmark.data, benchmark.preset, workers=os.cpu_count() or 1)
    missing = {candidate.name: what_is_missing(benchmark.load(candidate)) for candidate in candidates}
    here = [candidate for candidate in candidates if not missing[candidate.name]]
    reference = next(candidate for candidate in here if candidate.name == REFERENCE)
    rates = measured_rates(benchmark, here, reference)
    _train(benchmark, here, rates)
    mean_pose = mean_pose_scores(benchmark.data, read_test(benchmark.data))
    return {
        "preset": benchmark.preset,
        "overrides": list(benchmark.overrides),
        "minutes": benchmark.minutes,
        "scored_on": benchmark.scored_on,
        "mean_pose_on_test": {"mpjpe_mm": mean_pose.mpjpe_mm, "pa_mpjpe_mm": mean_pose.pa_mpjpe_mm},
        "rows": [_row(benchmark, candidate, missing[candidate.name], rates) for candidate in candidates],
    }


def _train(benchmark: Benchmark, candidates: Sequence[Candidate], rates: dict[str, Any]) -> None:
    """All runs, a seed of every candidate before the next seed."""
    epoch_images = {
        candidate.name: images_for(benchmark.minutes, images_per_s(rates, candidate), benchmark.load(candidate))
        for candidate in candidates
    }
    with ThreadPoolExecutor(benchmark.jobs) as pool:
        runs = [
            pool.submit(run_one, benchmark, candidate, seed, epoch_images[candidate.name])
            for seed in range(benchmark.num_seeds)
            for candidate in candidates
        ]
        _wait_for(runs, pool)


def _row(benchmark: Benchmark, candidate: Candidate, missing: str, rates: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {**asdict(candidate), "changes": list(candidate.changes), "missing": missing, "runs": []}
    if not missing:
        row["images_per_s"] = round(images_per_s(rates, candidate), 1)
        row["runs"] = benchmark.read_runs(candidate)
    return row


def what_is_missing(config: Config) -> str:
    """Why a network cannot be started here: its pretrained weights; '' where it can."""
    source = config.model.pretrained
    if source is None or (source == "imagenet" and config.model.backbone not in RESNETS):
        return ""  # where timm looks, timm knows: the run says what it misses
    if source == "imagenet":
        url: str = RESNETS[config.model.backbone][1].url
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    else:
        path = Path(source)
    return "" if path.exists() else f"its weights are not here ({path.name})"


def images_per_s(rates: dict[str, Any], candidate: Candidate) -> float:
    """What a candidate trains on in a second of a core, or of the GPU, that is its own."""
    return float(rates["reference_images_per_s"] / rates["ratios"][candidate.costs_as or candidate.name])


def measured_rates(benchmark: Benchmark, candidates: Sequence[Candidate], reference: Candidate) -> dict[str, Any]:
    """What is in rates.json, and what was not yet in it, each measured in turns with `reference`."""
    path = benchmark.runs / "rates.json"
    rates: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {"ratios": {}}
    for candidate in [reference, *candidates]:
        if candidate.costs_as or candidate.name in rates["ratios"]:
            continue
        print(f"measuring the rate of {candidate.name} ...", file=sys.stderr, flush=True)
        rate = _measure_in_own_process(benchmark, candidate, reference)
        rates.setdefault("reference_images_per_s", rate.reference_images_per_s)
        rates["ratios"][candidate.name] = 1.0 if candidate is reference else rate.ratio
        write_text_atomic(path, json.dumps(rates, indent=1) + "\n")
    return rates


def _measure_in_own_process(benchmark: Benchmark, candidate: Candidate, reference: Candidate) -> Rate:
    """In a process of its own, under the same conditions as a run."""
    specs = [[each.config, benchmark.changes(each)] for each in (candidate, reference)]
    done = _run_process([sys.executable, "-m", "benchmarks.rates", json.dumps(specs)], stdout=subprocess.PIPE)
    return Rate(*json.loads(done.stdout.splitlines()[-1]))


def run_one(benchmark: Benchmark, candidate: Candidate, seed: int, epoch_images: int) -> None:
    """Train and score, unless the result is there."""
    if not benchmark.result(candidate, seed).exists():
        print(f"{candidate.name}, seed {seed} ...", file=sys.stderr, flush=True)
        _run_process(benchmark.command(candidate, seed, epoch_images))


def _wait_for(runs: Sequence[Future[None]], pool: ThreadPoolExecutor) -> None:
    """Until all are done; after the first failure, or a Ctrl-C, those not started are cancelled."""
    try:
        for run in runs:
            run.result()
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise


def _run_process(command: list[str], stdout: int | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **TIMING_ENVIRONMENT, **({} if torch.cuda.is_available() else ONE_THREAD)}
    done = subprocess.run(command, env=environment, stdout=stdout, text=True, check=False)
    if done.returncode:
        raise CheckpointError(
            f"{' '.join(command[2:5])}: ended with status {done.returncode}; its message is above. The same command "
            "continues with what was done before"
        )
    return done
