"""`python -m benchmarks variants NAME`: the demo's network, trained in two or more ways.

All on as many images, or with `--minutes` for as long, counted in images by the rate of each. One JSON a comparison,
with every run; a run that is done is not made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.benchmark import Benchmark, Candidate, chosen, images_per_s, measured_rates, run_one
from benchmarks.partial_labels import write_partial_labels
from benchmarks.rates import images_for
from benchmarks.real_pictures import score_network, table_row
from benchmarks.real_samples import samples_folder
from benchmarks.summary import (
    LEVELS_MM,
    Difference,
    difference,
    interval_words,
    seconds_to,
    seconds_words,
    seeds_words,
)
from integral_pose.data.course import read_test
from integral_pose.errors import ConfigError
from integral_pose.evaluation.text_tables import markdown_table
from integral_pose.experiment.scoring import mean_pose_scores
from integral_pose.io.atomic import write_text_atomic
from integral_pose.weights.stored_network import read_network

DEMO = "configs/demo.yaml"
OVERRIDES = ("stages.0.epochs=1", "data.val_subjects=[]", "data.workers=0")
SOON_MM = LEVELS_MM[0]
CHANGE = "change (95 %), lower in so many seeds"


@dataclass(frozen=True)
class Comparison:
    """What is compared, and on what; `DATA` in a candidate's changes is the folder of the data."""

    title: str
    text: str
    candidates: tuple[Candidate, ...]
    images: int
    data: Path
    prepare: Callable[[Path], Path] | None = None  # further data, from those of `data`
    has_real_pictures: bool = False  # scored on photographs too
    has_rates: bool = False  # the rate of each candidate is measured, and so how soon it learns


def _candidate(name: str, title: str, *changes: str, against: str = "") -> Candidate:
    return Candidate(name, title, DEMO, changes, against)


def _with_flat(name: str) -> tuple[str, str]:
    """Half of each batch of a set in mm, half of that in px alone."""
    root = f"DATA-labels/{name}"
    return (
        f"data.root={root}",
        f"data.sources=[{{root: {root}, images: 16}}, {{root: DATA-labels/px, images: 16, weight: 0.2}}]",
    )


COMPARISONS = {
    "pretraining": Comparison(
        "From ImageNet or from random weights",
        "all its layers trained",
        (
            _candidate("scratch", "from random weights", "model.pretrained=null", "model.freeze=none"),
            _candidate("imagenet", "from ImageNet", "model.freeze=none", against="scratch"),
        ),
        4800,
        Path("data/people"),
    ),
    "heads": Comparison(
        "A volume or regression, from ImageNet",
        "with one head and another, on mannequins (preset synthetic-2)",
        (
            _candidate("regression", "direct regression", "model.head=regression"),
            _candidate("volume", "8 x 8 x 16 cells", against="regression"),
            _candidate("axis_terms", "the same with Gaussian axis terms", "model.axis_terms=gaussian",
                       against="regression"),
        ),
        19200,
        Path("data/synthetic-2"),
        has_rates=True,
    ),
    "extent": Comparison(
        "How far a coarse volume reaches",
        "its 8 x 8 x 16 cells over cubes of several sides, on mannequins (preset synthetic-2); the outermost cell "
        "centres, beyond which no joint is found, lie 962, 1094 and 1225 mm from the hip along x and y",
        (
            _candidate("volume", "2200 mm"),
            _candidate("extent_2500", "2500 mm", "model.extent_mm=2500", against="volume"),
            _candidate("extent_2800", "2800 mm", "model.extent_mm=2800", against="volume"),
        ),
        4800,
        Path("data/synthetic-2"),
    ),
    "labels": Comparison(
        "Labels in px, and labels that are missing",
        "on people with skin and clothes (preset people-1); labels in mm are of three dimensions, those in px of the "
        "picture alone, for half of each batch",
        (
            _candidate("two", "mm of two subjects", "data.root=DATA-labels/mm"),
            _candidate("two_and_flat", "mm of two subjects, px of the other three", *_with_flat("mm"), against="two"),
            _candidate("all", "mm of all five", against="two"),
            _candidate("few", "mm of 500 images of two subjects", "data.root=DATA-labels/few", against="two"),
            _candidate("few_and_flat", "mm of 500 images of two subjects, px of the other three", *_with_flat("few"),
                       against="few"),
            _candidate(
                "all_with_gaps", "mm of all five, a third of the labels missing", "data.root=DATA-labels/gaps",
                against="all",
            ),
        ),
        9600,
        Path("data/people-1"),
        write_partial_labels,
    ),
    "people": Comparison(
        "Mannequins or people with skin and clothes",
        "trained on one and on the other, scored on the test set of the latter and on photographs "
        "([real_pictures.md](real_pictures.md))",
        (
            _candidate("mannequins", "mannequins (preset synthetic-2)", "data.root=data/synthetic-2"),
            _candidate("all", "people (preset people-1)", against="mannequins"),
        ),
        9600,
        Path("data/people-1"),
        has_real_pictures=True,
    ),
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("name", choices=COMPARISONS, help="what is compared")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--images", type=int, metavar="N", help="each run trains on (4,800 to 19,200)")
    budget.add_argument("--minutes", type=float, metavar="N", help="of one core for each run, instead of --images")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these alone, with what they are compared with")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many runs of each (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data/people, people-1 or synthetic-2")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark/variants"), metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), metavar="DIR", help="%(default)s")


def variants(options: argparse.Namespace) -> None:
    """Train and score what is not done yet; write NAME.json, or NAME-Mmin.json for M minutes, print its tables."""
    comparison, minutes = COMPARISONS[options.name], options.minutes
    data, images = options.data or comparison.data, options.images or comparison.images
    if not data.is_dir():
        raise ConfigError(f"{data}: expected rendered people; docs/data.md has the command")
    if comparison.prepare:
        comparison.prepare(data)
    budget = f"{minutes:g}min" if minutes else str(images)
    runs = options.runs / f"{data.name}-{budget}"  # of all comparisons: some share a candidate
    benchmark = Benchmark("demo", data, runs, OVERRIDES, minutes or 0.0, options.seeds, "test")
    candidates = [_on(data, candidate) for candidate in chosen(comparison.candidates, options.only)]
    rates = measured_rates(benchmark, candidates, candidates[0]) if minutes or comparison.has_rates else None
    for seed in range(options.seeds):
        for candidate in candidates:
            if minutes and rates is not None:
                images = images_for(minutes, images_per_s(rates, candidate), benchmark.load(candidate))
            run_one(benchmark, candidate, seed, _first_source_images(candidate, images))
    content = {"command": _command(options, images), **({"minutes": minutes} if minutes else {"images": images})}
    content |= _content(benchmark, candidates, rates)
    if comparison.has_real_pictures:
        _add_real_pictures(content, benchmark, candidates)
    name = f"{options.name}-{budget}" if minutes else options.name
    write_text_atomic(options.out / f"{name}.json", json.dumps(content, indent=1) + "\n")
    print(_tables(content))


def _command(options: argparse.Namespace, images: int) -> str:
    """What repeats it; places on this machine are left out."""
    budget = f"--minutes {options.minutes:g}" if options.minutes else f"--images {images}"
    only = f" --only {' '.join(options.only)}" if options.only else ""
    return f"python -m benchmarks variants {options.name} {budget} --seeds {options.seeds}{only}"


def _content(benchmark: Benchmark, candidates: Sequence[Candidate], rates: dict[str, Any] | None) -> dict[str, Any]:
    mean_pose = mean_pose_scores(benchmark.data, read_test(benchmark.data))
    rows: list[dict[str, Any]] = [{**asdict(each), "runs": benchmark.read_runs(each)} for each in candidates]
    if rates is not None:
        for row, candidate in zip(rows, candidates, strict=True):
            row["images_per_s"] = round(images_per_s(rates, candidate), 1)
    return {"mean_pose": {"mpjpe_mm": mean_pose.mpjpe_mm, "pa_mpjpe_mm": mean_pose.pa_mpjpe_mm}, "rows": rows}


def section(content: Mapping[str, Any], file_name: str) -> str:
    """The part of docs/results.md."""
    comparison, seeds = COMPARISONS[Path(file_name).stem.partition("-")[0]], len(content["rows"][0]["runs"])
    title, budget = comparison.title, f"{content.get('images', 0):,} images"
    if "minutes" in content:
        budget = f"{content['minutes']:g} minutes of one core"
        title += f", {budget}"
    spread = f"{seeds} seeds" if seeds > 1 else "one seed"
    return (
        f"## {title}\n\n`{content['command']}` ([{file_name}](results/{file_name})): the network of `{DEMO}`, "
        f"{comparison.text}; {budget} a run, {spread}, scored on the test subjects"
        f"{'; mean ± standard deviation over the seeds' if seeds > 1 else ''}.\n\n{_tables(content)}\n"
    )


def headline(content: Mapping[str, Any]) -> list[str]:
    """The figures that the README may quote: each row's MPJPE, and the change of the last."""
    rows = {row["name"]: row for row in content["rows"]}
    last = content["rows"][-1]
    change = difference(last, rows[last["against"]])
    return [*(f"{_over_seeds(row['runs'], 'mpjpe_mm')} mm" for row in rows.values()), f"{interval_words(change)} mm"]


def _on(data: Path, candidate: Candidate) -> Candidate:
    return replace(candidate, changes=tuple(change.replace("DATA", str(data)) for change in candidate.changes))


def _first_source_images(candidate: Candidate, images: int) -> int:
    """`data.epoch_images` counts the first source's, which are half of a batch where there are two."""
    return images // 2 if any(change.startswith("data.sources") for change in candidate.changes) else images


def _add_real_pictures(content: dict[str, Any], benchmark: Benchmark, candidates: Sequence[Candidate]) -> None:
    """Raises ConfigError where the photographs are not here."""
    _, missing = samples_folder()
    if missing:
        raise ConfigError(f"the photographs that this is scored on: {missing}")
    for row, candidate in zip(content["rows"], candidates, strict=True):
        for seed, run in enumerate(row["runs"]):
            folder = benchmark.result(candidate, seed).with_suffix("")
            run["real_pictures"] = score_network(
                f"{candidate.title}, seed {seed}", read_network(folder), folder / "real_pictures"
            )


def _tables(content: Mapping[str, Any]) -> str:
    rows = {row["name"]: row for row in content["rows"]}
    lines: list[dict[str, str | float | None]] = []
    for row in rows.values():
        other = rows.get(row.get("against", ""))
        lines.append(
            {
                "": row["title"],
                "MPJPE (mm)": _over_seeds(row["runs"], "mpjpe_mm"),
                "PA-MPJPE (mm)": _over_seeds(row["runs"], "pa_mpjpe_mm"),
                CHANGE: _change(difference(row, other), other["title"]) if other else "",
                **_speed(row),
            }
        )
    mean_pose = content["mean_pose"]
    lines.append(
        {
            **dict.fromkeys(lines[0], ""),
            "": "predicting the mean pose",
            "MPJPE (mm)": f"{mean_pose['mpjpe_mm']:.1f}",
            "PA-MPJPE (mm)": f"{mean_pose['pa_mpjpe_mm']:.1f}",
        }
    )
    photographs = [table_row(run["real_pictures"]) for row in rows.values() for run in row["runs"]
                   if "real_pictures" in run]  # fmt: skip
    return "\n\n".join([markdown_table(lines)] + ([markdown_table(photographs)] if photographs else []))


def _speed(row: Mapping[str, Any]) -> dict[str, str]:
    """Two columns, where the rate was measured."""
    if "images_per_s" not in row:
        return {}
    return {
        "images/s": f"{row['images_per_s']:.0f}", f"s to {SOON_MM}": seconds_words(seconds_to(SOON_MM, row)),
    }  # fmt: skip


def _change(found: Difference, title: str) -> str:
    return f"{interval_words(found)} against {title}, {seeds_words(found)}"


def _over_seeds(runs: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [run[key] for run in runs]
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else f"{values[0]:.1f}"
