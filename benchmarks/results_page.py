"""docs/results.md and its figures, made of the JSON files in docs/results: no figure there is written by hand.

What the figures mean is in docs/results/reading.md, which is put in as it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.approaches import BEST, PUBLISHED
from benchmarks.results_figure import draw, draw_curves
from benchmarks.summary import (
    LEAST_SHARE,
    Difference,
    Line,
    difference,
    interval_words,
    lines,
    seconds_words,
    seeds_words,
)
from benchmarks.variants import COMPARISONS, section
from integral_pose.evaluation.text_tables import markdown_table
from integral_pose.io.atomic import write_text_atomic
from integral_pose.report.canvas import write_png

HEADER = """# Results

Made by `python -m benchmarks results --write docs/results.md` from the JSON files in [results/](results): change those,
or `results/reading.md`, never this page. MPJPE and PA-MPJPE in mm over all 17 joints. Differences are paired, frame by
frame, with 95 % intervals over the sequences of the test set, errors averaged over the seeds; `better in` counts the
seeds for which the sign is the same. Together they say whether other recordings or other seeds would turn the order.
`untrained` is before the first step; `s to 150` and `s to 100` are core seconds until training batches, each image seen
for the first time or after a whole pass, are at that MPJPE: averaged over the seeds, and over the logged ones (every
fifth, in comparisons of variants every twentieth) of some 960 images. What was tried on the way to the recipe:
[trials.md](trials.md).
"""
TRIALS_HEADER = """# What was tried for the recipe

Made with [results.md](results.md) by the same command; the figures have the same meaning.
"""
# (worse, better) in the source report
ORDER = (
    ("regression", "integral"),
    ("integral", "integral_then_heatmap"),
    ("heatmap_only", "integral"),
)


def results(options: argparse.Namespace) -> None:
    """Write the page."""
    write(options.write)


def write(path: Path) -> None:
    """The page at `path` of the JSON files in the folder of the same name beside it, and a figure for each ablation."""
    folder = path.with_suffix("")
    for figures in sorted(folder.glob("ablation-*.json")):
        content = json.loads(figures.read_text("utf-8"))
        write_png(figures.with_suffix(".png"), draw(content))
        write_png(_curves_of(figures), draw_curves(content))
    write_text_atomic(path, page(folder))
    write_text_atomic(path.with_name("trials.md"), trials_page(folder))


def _curves_of(figures: Path) -> Path:
    return figures.with_name(f"{figures.stem}-curves.png")


def trials_page(folder: Path) -> str:
    """What was tried for the recipe, from the JSON files of a folder."""
    parts = [TRIALS_HEADER] + [
        _trials(json.loads(path.read_text("utf-8")), path.name) for path in sorted(folder.glob("trials-*.json"))
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def page(folder: Path) -> str:
    """The page of results from the JSON files of a folder, without the trials."""
    parts = [HEADER]
    for name, write in (("ablation", _ablation), ("gpu", _gpu)):
        found = {path.name: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob(f"{name}-*.json"))}
        shortest_first = sorted(found, key=lambda file: found[file].get("minutes", 0.0))
        parts += [write(found[file], file) for file in shortest_first]
    for name in COMPARISONS:
        files = [folder / f"{name}.json", *folder.glob(f"{name}-*min.json")]
        compared = [(path.name, json.loads(path.read_text("utf-8"))) for path in files if path.exists()]
        compared.sort(key=lambda each: each[1].get("minutes", 0.0))
        parts += [section(content, file_name) for file_name, content in compared]
    reading = folder / "reading.md"
    if reading.exists():
        parts.append(reading.read_text("utf-8"))
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def headline(content: Mapping[str, Any]) -> list[str]:
    """The lines that the README may quote: the first of the ablation, and best against published."""
    by_name = {line.name: line for line in lines(content)}
    rows = {row["name"]: row for row in content["rows"] if row["runs"]}
    quoted = [
        f"{by_name[name].mpjpe_mm:.1f} ± {by_name[name].spread_mm:.1f} mm" if by_name[name].spread_mm is not None else
        f"{by_name[name].mpjpe_mm:.1f} mm"
        for name in ("regression", "integral", "integral_and_heatmap", PUBLISHED, BEST) if name in by_name
    ]  # fmt: skip
    if {BEST, PUBLISHED} <= rows.keys():
        quoted.append(_relative(difference(rows[BEST], rows[PUBLISHED])))
    return quoted


def verdicts(content: Mapping[str, Any]) -> list[str]:
    """How the source report's order fares, a sentence a pair, and best against published."""
    rows = {row["name"]: row for row in content["rows"] if row["runs"]}
    sentences = []
    for worse, better in ORDER:
        if {worse, better} <= rows.keys():
            sentences.append(_verdict(rows[worse], rows[better]))
    if {BEST, PUBLISHED} <= rows.keys():
        effect = difference(rows[BEST], rows[PUBLISHED])
        sentences.append(
            f"`configs/best.yaml` against the published recipe: {_interval_and_seeds(effect)}; {_relative(effect)}."
        )
    return sentences


def _verdict(worse: Mapping[str, Any], better: Mapping[str, Any]) -> str:
    effect = difference(better, worse)
    if not effect.matters:
        outcome = f"no difference of {100 * LEAST_SHARE:g} % or more"
    elif not effect.is_decided:
        outcome = "not decided by these runs"
    elif effect.mm.mean < 0:
        outcome = "as in the source report"
    else:
        outcome = "**the other way round than in the source report**"
    return f"{better['title']} less {worse['title']}: {_interval_and_seeds(effect)}: {outcome}."


def _ablation(content: Mapping[str, Any], name: str) -> str:
    table_lines = lines(content)
    table = markdown_table([_row(line) for line in table_lines])
    absent = [f"- {row['title']}: not run, since {row['missing']}." for row in content["rows"] if row["missing"]]
    groups = markdown_table([{"": line.title, **line.groups_mm, **line.axes_mm} for line in table_lines])
    figure = (
        f"![MPJPE of the approaches](results/{Path(name).with_suffix('.png')})\n\n"
        f"![MPJPE over the training](results/{_curves_of(Path(name))})"
    )
    order = "The order of the source report is: direct regression worst, then integral, then integral + heat map. Here:"
    sentences = [f"- {text}" for text in verdicts(content)]
    title = f"## The approaches on {content['name']}"
    parts = [
        [title],
        [_origin(content, name)],
        [figure],
        [table, *absent],
        [order] if sentences else [],
        sentences,
        ["By joint group, and along each axis alone over all joints:"],
        [groups],
    ]
    return "\n\n".join("\n".join(part).strip("\n") for part in parts if part)


def _trials(content: Mapping[str, Any], name: str) -> str:
    rows = {row["name"]: row for row in content["rows"]}
    table = markdown_table([
        {
            "change": line.title,
            "to": "" if line.difference is None else rows[rows[line.name]["against"]]["title"],
            "MPJPE": line.mpjpe_mm,
            "effect (mm)": "" if line.difference is None else interval_words(line.difference),
            "better in": "" if line.difference is None else seeds_words(line.difference),
            "verdict": _effect(line.difference),
        }
        for line in lines(content)
    ])  # fmt: skip
    return "\n".join([f"## What was tried, on {content['name']}\n", _origin(content, name), "", table])


def _gpu(content: Mapping[str, Any], name: str) -> str:
    return f"## On a GPU\n\n`{content['command']}`: {content['line']} ([{name}](results/{name}))\n"


def _origin(content: Mapping[str, Any], name: str) -> str:
    runs = [run for row in content["rows"] for run in row["runs"]]
    commits = sorted({commit[:7] for run in runs for commit in run["commits"]})
    where = ", ".join(sorted({f"{run['device']}, torch {run['torch']}" for run in runs}))
    seeds = len({run["seed"] for run in runs})
    mean_pose = content["mean_pose_on_test"]
    scored = (
        f"the test subjects, where predicting the mean pose has {mean_pose['mpjpe_mm']:.1f} mm"
        if content["scored_on"] == "test" else "a training subject that was held out"
    )  # fmt: skip
    return (
        f"`{content['command']}`, commit {', '.join(commits)}; {where}; figures in [{name}](results/{name}).\n"
        f"{content['minutes']:g} minutes of one core a run, {_plural(seeds, 'seed')}; scored on {scored}.\n"
        "The minutes are counted in images, by the rate of each approach on a core of its own, so that runs repeat."
    )


def _row(line: Line) -> dict[str, str | float | None]:
    return {
        "approach": line.title,
        "MPJPE": line.mpjpe_mm,
        "± seeds": line.spread_mm,
        "PA-MPJPE": line.pa_mpjpe_mm,
        "untrained": line.untrained_mm,
        **{f"s to {level}": seconds_words(seconds) for level, seconds in line.seconds_to.items()},
        "less integral": "" if line.difference is None else interval_words(line.difference),
        "better in": "" if line.difference is None else seeds_words(line.difference),
        "images": f"{line.images:,}",
        "images/s": f"{line.images_per_s:.0f}",
        "core s": "-" if line.process_s is None else f"{line.process_s:.0f}",
    }


def _effect(effect: Difference | None) -> str:
    if effect is None:
        return ""
    if not (effect.is_decided and effect.matters):
        return "no effect seen"
    outcome = "helps" if effect.mm.mean < 0 else "harms"
    return f"{outcome}, by one seed" if effect.num_seeds == 1 else outcome


def _interval_and_seeds(effect: Difference) -> str:
    return f"{interval_words(effect)} mm, better in {seeds_words(effect)} seeds"


def _relative(effect: Difference) -> str:
    mean, low, high = (100 * share for share in effect.relative)
    return f"{mean:+.1f} % ({low:+.1f} to {high:+.1f} %)"


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
