"""`integral-pose prepare synthetic`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from integral_pose.cli.arguments import add_command, count


def add_synthetic(sources: Any) -> None:
    """Add `synthetic` to the sources of `prepare`."""
    parser = add_command(sources, "synthetic", "render people with known poses", _synthetic)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder that is not there yet")
    parser.add_argument("--preset", metavar="NAME", help="a set of the documentation: synthetic-1[-small]")
    parser.add_argument("--train", type=count, default=12000, metavar="N", help="training images (%(default)s)")
    parser.add_argument("--valid", type=count, default=1000, metavar="M", help="test images (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="%(default)s")
    parser.add_argument("--workers", type=count, default=None, metavar="K", help="processes (one a core)")


def _synthetic(options: argparse.Namespace) -> None:
    from integral_pose.synthetic.dataset import render_dataset, render_preset

    workers = options.workers or os.cpu_count() or 1
    if options.preset:
        is_same = render_preset(options.out, options.preset, workers=workers)
        print(f"{options.out}: {options.preset}" + (
            ", byte for byte as defined" if is_same else
            "; its pictures differ from the definition in a few bits, since another processor rounds otherwise: "
            "figures on it compare, but not to the last digit"
        ))  # fmt: skip
        return
    render_dataset(options.out, num_train=options.train, num_valid=options.valid, seed=options.seed, workers=workers)
    print(f"{options.out}: {options.train} training and {options.valid} test images")
