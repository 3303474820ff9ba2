"""Everything worth knowing about a GPU in one run of `scripts/gpu_check.sh`.

Each part runs in a process of its own under a time limit, so that one that fails or hangs leaves the others their
figures. A part that lacks a package is named with it, and not run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOTAL_S = 8 * 60
TRAINING_STEPS, FALLEN = 200, 0.9  # after them the loss, over that of the start, is to be below


@dataclass(frozen=True)
class Part:
    """A command, and what is read from what it wrote."""

    name: str
    arguments: Sequence[str]
    limit_s: int
    read: Callable[[dict[str, Any]], tuple[bool, str]]  # its JSON -> whether it is right, and a line


def parts(device: str, quick: bool) -> list[Part]:
    """All of them; `quick` is for trying the check itself."""
    batches = (2,) if quick else (128, 32, 512)
    loss = ("--batch", "1", "--size", "16", "--rounds", "1") if quick else ("--batch", "32", "--rounds", "20")
    loss = (*loss, "--no-compile")
    command = ("-m", "integral_pose", "bench")
    step = (*command, "step", "--device", device, "--rounds", "1" if quick else "10")
    return [
        Part("kernels", ("-m", __spec__.name, "--kernels", "--device", device), 120, _read_kernels),
        Part("training", ("-m", __spec__.name, "--training", "--device", device), 180, _read_training),
        Part("bench loss", (*command, "loss", "--device", device, *loss), 120, _read_loss),
        *(Part(f"bench step, batch {n}", (*step, "--batch", str(n)), 150, _read_step) for n in batches),
        Part("bench data", (*command, "data", "--rounds", "1" if quick else "5"), 120, _read_data),
    ]  # fmt: skip


def main() -> None:
    """Run all parts, print one table, write the figures. Exit status 1 if a part is wrong or did not end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"), metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the check itself")
    parser.add_argument("--json", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kernels", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--training", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kernels or options.training:
        part = check_kernels_here if options.kernels else train_here
        options.json.write_text(json.dumps(part(options.device)), "utf-8")
        return
    found = run(parts(options.device, options.quick), machine(options.device))
    options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(table(found))
    sys.exit(0 if all(row["passed"] for row in found["parts"] if row["ran"]) else 1)


def machine(device: str) -> dict[str, str]:
    """What the figures belong to."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"no CUDA GPU that torch {torch.__version__} can use; --device cpu checks the CPU")
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return {"device": name, "torch": str(torch.__version__), "python": sys.version.split()[0]}


def run(todo: Sequence[Part], where: dict[str, str]) -> dict[str, Any]:
    """Their figures; parts that no time is left for are named."""
    start, rows = time.monotonic(), []
    for part in todo:
        left = TOTAL_S - (time.monotonic() - start)
        print(f"{part.name} ...", file=sys.stderr, flush=True)
        rows.append(_run(part, min(part.limit_s, left)) if left > 10 else _missing(part, "no time was left"))
    return {**where, "seconds": time.monotonic() - start, "parts": rows}


def table(found: dict[str, Any]) -> str:
    """One line a part."""
    lines = [f"{found['device']}, torch {found['torch']}, Python {found['python']}: {found['seconds']:.0f} s"]
    for row in found["parts"]:
        verdict = ("ok" if row["passed"] else "WRONG") if row["ran"] else "not run"
        lines.append(f"{row['part']:24}{verdict:9}{row['line']}")
    return "\n".join(lines)


def check_kernels_here(device: str) -> dict[str, Any]:
    """Every kernel against the reference."""
    import torch

    from integral_pose.bench.kernel_check import check_kernels, summary

    rows = check_kernels(torch.device(device))
    print(summary(rows))
    return {"rows": rows}


def train_here(device: str) -> dict[str, Any]:
    """200 steps of the trainer's step on a batch of noise pictures whose joints it is to learn by heart."""
    import torch

    from integral_pose.bench.step import our_step, random_batch

    size, steps = (32, TRAINING_STEPS) if device == "cuda" else (2, 4)
    step = our_step(random_batch(size, torch.device(device)), torch.device(device), device == "cuda", 1e-4)
    losses = [float(step()["loss"]) for _ in range(steps)]
    return {"losses": losses, "batch": size}


def _run(part: Part, limit_s: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        command = [sys.executable, *part.arguments, "--json", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            return {"part": part.name, "ran": True, "passed": False, "line": f"did not end within {limit_s:.0f} s"}
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if "No module named" in done.stderr:
            return _missing(part, last)
        if done.returncode != 0 or not path.exists():
            return {"part": part.name, "ran": True, "passed": False, "line": last, "stderr": done.stderr[-4000:]}
        figures = json.loads(path.read_text("utf-8"))
        passed, line = part.read(figures)
        return {"part": part.name, "ran": True, "passed": passed, "line": line, "figures": figures}


def _missing(part: Part, reason: str) -> dict[str, Any]:
    return {"part": part.name, "ran": False, "passed": False, "line": reason}


def _read_kernels(found: dict[str, Any]) -> tuple[bool, str]:
    wrong = [row for row in found["rows"] if not row["passed"]]
    line = f"{len(found['rows']) - len(wrong)} of {len(found['rows'])} cases equal the float64 reference"
    return not wrong, line + (f"; first wrong: {wrong[0]}" if wrong else "")


def _read_training(found: dict[str, Any]) -> tuple[bool, str]:
    losses = found["losses"]
    tenth = max(1, len(losses) // 10)
    first, last = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    limit = FALLEN if len(losses) >= TRAINING_STEPS else 1.0  # a few steps, on a CPU: it falls at all
    return last < limit * first, f"loss {first:.4f} -> {last:.4f} in {len(losses)} steps"


def _read_loss(found: dict[str, Any]) -> tuple[bool, str]:
    ours = [row for row in found["rows"] if row["form"].endswith("fused") and row["channels_last"]]
    per_image = ", ".join(
        f"{row['dtype']} {row['form']} {row['seconds'] / found['batch'] * 1e6:.1f} us" for row in ours
    )
    ratio = found["heatmap_vs_dense"]
    return True, f"{ratio:.3f} of dense; an image, channels last: {per_image}"


def _read_step(found: dict[str, Any]) -> tuple[bool, str]:
    values = {key: found[key] for key in ("images_per_s", "heatmap_overhead", "step_vs_published")}
    line = ", ".join(f"{key} {'-' if value is None else format(value, '.4g')}" for key, value in values.items())
    return values["images_per_s"] is not None, line


def _read_data(found: dict[str, Any]) -> tuple[bool, str]:
    versus = found["vs_baseline"]
    line = f"{found['images_per_s_per_core']} images/s a core"
    return True, line + (f", {versus} times the baseline" if versus else ", no imgaug to compare with")


if __name__ == "__main__":
    main()
