"""One approach trained on a GPU within a few minutes, from nothing: render, measure the rate, train, score.

`scripts/gpu_train.sh` starts it. The last line on the terminal is the result; the JSON has it all.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.approaches import SIZES
from benchmarks.one_run import read_scored, score_run
from benchmarks.rates import images_for, measure_images_per_s
from integral_pose.config.loading import load_config
from integral_pose.config.schema import Config
from integral_pose.experiment import train
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.devices import choose_device
from integral_pose.synthetic.dataset import render_preset

RESERVE_S = 20  # for the start of Python and for scoring
SPARE = 0.92  # of the time left beyond that once the rate is known: the rest is for checkpoints and slower stretches


def gpu_train(options: argparse.Namespace) -> None:
    """Everything within `minutes` from now; writes the JSON and prints the result."""
    result = _render_and_train(options, deadline=time.monotonic() + 60 * options.minutes)
    write_text_atomic(options.out, json.dumps(result, indent=1) + "\n")
    print(result["line"])


def _render_and_train(options: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """What the JSON holds. Raises ConfigError before anything else where there is no such device."""
    device = choose_device(options.device)
    size = SIZES["small" if options.small else "large"]
    data, cores = options.data or Path("data") / size.preset, os.cpu_count() or 1
    start = time.monotonic()
    if not data.exists():
        render_preset(data, size.preset, workers=cores)
    rendering_s = time.monotonic() - start
    # Compiling would take a share of so short a run that it does not win back.
    overrides = [*size.overrides, f"data.root={data}", f"data.workers={min(cores - 1, 12)}", "trainer.compile=off",
                 f"trainer.device={device.type}", *options.overrides]  # fmt: skip
    rate, config = _fit_to_time(options.config, overrides, deadline)
    start = time.monotonic()
    folder = train(config)
    training_s = time.monotonic() - start
    run = score_run(folder, config, read_scored(config, "test"))
    return {
        "command": f"scripts/gpu_train.sh {options.config} {options.minutes:g}{size.flags}",
        "line": _line(Path(options.config).stem, size.preset, run, training_s),
        "images_per_s_measured": rate,
        "rendering_s": rendering_s,
        "training_s": training_s,
        "run": run,
    }


def _fit_to_time(path: str, overrides: list[str], deadline: float) -> tuple[float, Config]:
    """Images a second, and the configuration with as many images an epoch as the time left is good for."""
    config = load_config(path, overrides).config
    rate = measure_images_per_s(config)
    left_minutes = max(0.0, deadline - RESERVE_S - time.monotonic()) / 60
    images = images_for(SPARE * left_minutes, rate, config)
    return rate, load_config(path, [*overrides, f"data.epoch_images={images}"]).config


def _line(name: str, preset: str, run: dict[str, Any], training_s: float) -> str:
    return (
        f"{name}: MPJPE {run['mpjpe_mm']:.1f} mm, PA-MPJPE {run['pa_mpjpe_mm']:.1f} mm on {preset} after "
        f"{run['images']:,} images in {training_s:.0f} s on {run['device']} "
        f"({run['images'] / training_s:.0f} images/s, scoring apart)"
    )
