"""`python -m benchmarks pretraining`: the demo's network from random and from ImageNet weights, equal images.

Approach 4 of the source report, all layers trained. A run that is done is not made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.benchmark import Benchmark, Candidate, run_one
from integral_pose.data.course import read_test
from integral_pose.evaluation.text_tables import markdown_table
from integral_pose.experiment.scoring import mean_pose_scores
from integral_pose.io.atomic import write_text_atomic

DEMO = "configs/demo.yaml"
CANDIDATES = (
    Candidate("scratch", "from random weights", DEMO, ("model.pretrained=null", "model.freeze=none")),
    Candidate("imagenet", "from ImageNet", DEMO, ("model.freeze=none",)),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--images", type=int, default=4800, metavar="N", help="each run trains on (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many runs of each (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/people"), metavar="DIR", help="%(default)s")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark/pretraining"), metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("docs/results/pretraining.json"), metavar="FILE")


def pretraining(options: argparse.Namespace) -> None:
    """Train and score what is not done yet; write the JSON, print its table."""
    overrides = ("stages.0.epochs=1", "data.val_subjects=[]", "data.workers=0")
    benchmark = Benchmark("demo", options.data, options.runs, overrides, 0.0, options.seeds, "test")
    rows: list[dict[str, Any]] = [{"name": each.name, "title": each.title, "runs": []} for each in CANDIDATES]
    for seed in range(options.seeds):
        for candidate, row in zip(CANDIDATES, rows, strict=True):
            run_one(benchmark, candidate, seed, options.images)
            row["runs"].append(json.loads(benchmark.result(candidate, seed).read_text("utf-8")))
    mean_pose = mean_pose_scores(options.data, read_test(options.data))
    content = {
        "command": f"python -m benchmarks pretraining --images {options.images} --seeds {options.seeds}",
        "images": options.images,
        "mean_pose": {"mpjpe_mm": mean_pose.mpjpe_mm, "pa_mpjpe_mm": mean_pose.pa_mpjpe_mm},
        "rows": rows,
    }
    write_text_atomic(options.out, json.dumps(content, indent=1) + "\n")
    print(table(content))


def table(content: dict[str, Any]) -> str:
    """Mean and spread over the seeds."""
    lines: list[dict[str, str | float | None]] = [
        {
            "": row["title"],
            "MPJPE (mm)": _over_seeds(row["runs"], "mpjpe_mm"),
            "PA-MPJPE (mm)": _over_seeds(row["runs"], "pa_mpjpe_mm"),
        }
        for row in content["rows"]
    ]
    mean_pose = content["mean_pose"]
    lines.append(
        {
            "": "predicting the mean pose",
            "MPJPE (mm)": f"{mean_pose['mpjpe_mm']:.1f}",
            "PA-MPJPE (mm)": f"{mean_pose['pa_mpjpe_mm']:.1f}",
        }
    )
    return markdown_table(lines)


def section(content: dict[str, Any], file_name: str) -> str:
    """The part of docs/results.md."""
    seeds = len(content["rows"][0]["runs"])
    return (
        f"## From ImageNet or from random weights\n\n`{content['command']}` ([{file_name}](results/{file_name})): the "
        f"network of `{DEMO}`, all its layers trained, {content['images']:,} images, {seeds} seeds, the demo's test "
        f"subjects; mean ± standard deviation over the seeds.\n\n{table(content)}\n"
    )


def _over_seeds(runs: Sequence[dict[str, Any]], key: str) -> str:
    values = [run[key] for run in runs]
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else f"{values[0]:.1f}"
