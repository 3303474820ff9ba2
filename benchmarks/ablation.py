"""`python -m benchmarks ablation` and `trials`: which candidates, on what, and the JSON and page they end in."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.approaches import APPROACHES, SIZES, Size
from benchmarks.benchmark import Benchmark, Candidate, chosen, run_benchmark
from benchmarks.results_page import page
from benchmarks.trials import HELD_OUT, TRIALS
from integral_pose.io.atomic import write_text_atomic


def ablation(options: argparse.Namespace) -> None:
    """The approaches, on the test subjects."""
    candidates = [
        Candidate(each.name, each.title, each.config, () if options.small else each.large, costs_as=each.costs_as)
        for each in APPROACHES
    ]
    _run(options, "ablation", candidates, ())


def trials(options: argparse.Namespace) -> None:
    """The changes of the recipe, on the training subject that is held out."""
    _run(options, "trials", TRIALS, HELD_OUT)


def _run(options: argparse.Namespace, kind: str, candidates: Sequence[Candidate], overrides: tuple[str, ...]) -> None:
    size = SIZES["small" if options.small else "large"]
    name = options.name or size.name
    minutes = options.minutes or size.minutes
    benchmark = Benchmark(
        preset=size.preset,
        data=options.data or Path("data") / size.preset,
        runs=options.runs or Path("runs/benchmark") / name,
        overrides=(*size.overrides, *overrides, *options.set),
        minutes=minutes,
        num_seeds=options.seeds,
        scored_on="held-out" if overrides else "test",
        jobs=options.jobs,
    )
    content = run_benchmark(benchmark, chosen(candidates, options.only))
    content = {"name": name, "command": _command(kind, size, options, minutes), **content}
    path = options.out / f"{kind}-{name}.json"
    write_text_atomic(path, json.dumps(content, indent=1) + "\n")
    print(f"{path}\n\n{page(options.out)}")


def _command(kind: str, size: Size, options: argparse.Namespace, minutes: float) -> str:
    """What repeats it; places on this machine are left out."""
    script = "scripts/ablation.sh" if kind == "ablation" else f"python -m benchmarks {kind}"
    extra = "".join(f" --{name} {' '.join(values)}" for name in ("only", "set") if (values := getattr(options, name)))
    return f"{script}{size.flags} --seeds {options.seeds} --minutes {minutes:g}{extra}"
