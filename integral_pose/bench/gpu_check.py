"""Everything worth knowing about a GPU in one run of `scripts/gpu_check.sh`.

Each part runs in a process of its own under a time limit, so that one that fails or hangs leaves the others their
figures. A part that lacks a package is named with it, and not run.
"""

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
    read: Callable[[dict[str, Any]], tuple[bool, str]]  # its JSON -> whether it is right, and a line of figures


def list_parts(device: str, quick: bool) -> list[Part]:
    """All of them; `quick` is for trying the check itself."""
    batches = (2,) if quick else (128, 32, 512)
    loss = ("--batch", "1", "--size", "16", "--rounds", "1") if quick else ("--batch", "32", "--rounds", "20")
    on_device, bench = ("--device", device), ("-m", "integral_pose", "bench")
    step = (*bench, "step", *on_device, "--rounds", "1" if quick else "10")
    return [
        Part("kernels", ("-m", __spec__.name, "--part", "kernels", *on_device), 120, _read_kernels),
        Part("training", ("-m", __spec__.name, "--part", "training", *on_device), 180, _read_training),
        Part("bench loss", (*bench, "loss", *on_device, *loss, "--no-compile"), 120, _read_loss),
        *(Part(f"bench step, batch {n}", (*step, "--batch", str(n)), 150, _read_step) for n in batches),
        Part("bench data", (*bench, "data", "--rounds", "1" if quick else "5"), 120, _read_data),
    ]


def main() -> None:
    """Run all parts, print one table, write the figures. Exit status 1 if a part is wrong or did not end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"), metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the check itself")
    parser.add_argument("--json", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=("kernels", "training"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        run_here = {"kernels": check_kernels_here, "training": train_here}[options.part]
        options.json.write_text(json.dumps(run_here(options.device)), "utf-8")
        return
    result = run_parts(list_parts(options.device, options.quick), require_device(options.device))
    options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(parts_table(result))
    sys.exit(0 if all(row["passed"] for row in result["parts"] if row["ran"]) else 1)


def require_device(device: str) -> dict[str, Any]:
    """What the figures belong to. Exits where there is no such device."""
    import torch

    from integral_pose.bench.measuring import describe_machine

    if device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"no CUDA GPU that torch {torch.__version__} can use; --device cpu checks the CPU")
    return {**describe_machine(torch.device(device)), "python": sys.version.split()[0]}


def run_parts(parts: Sequence[Part], machine: dict[str, Any]) -> dict[str, Any]:
    """Their figures; parts that no time is left for are named."""
    start, rows = time.monotonic(), []
    for part in parts:
        left_s = TOTAL_S - (time.monotonic() - start)
        print(f"{part.name} ...", file=sys.stderr, flush=True)
        rows.append(_run(part, min(part.limit_s, left_s)) if left_s > 10 else _row(part, "no time was left", ran=False))
    return {**machine, "seconds": time.monotonic() - start, "parts": rows}


def parts_table(result: dict[str, Any]) -> str:
    """One line a part."""
    lines = [f"{result['device']}, torch {result['torch']}, Python {result['python']}: {result['seconds']:.0f} s"]
    for row in result["parts"]:
        verdict = ("ok" if row["passed"] else "WRONG") if row["ran"] else "not run"
        lines.append(f"{row['part']:24}{verdict:9}{row['line']}")
    return "\n".join(lines)


def check_kernels_here(device: str) -> dict[str, Any]:
    """Every kernel against the reference."""
    import torch

    from integral_pose.bench.kernel_check import check_kernels

    return {"rows": check_kernels(torch.device(device))}


def train_here(device: str) -> dict[str, Any]:
    """200 steps of the trainer's step that overfit one batch of noise pictures."""
    import torch

    from integral_pose.bench.step_speed import our_step, random_batch

    size, steps = (32, TRAINING_STEPS) if device == "cuda" else (2, 4)
    step, loss = our_step(torch.device(device), device == "cuda", 1e-4)
    batch = random_batch(size, torch.device(device))
    losses = [float(step(batch, loss, 1e-4)["loss"]) for _ in range(steps)]
    return {"losses": losses, "batch": size}


def _run(part: Part, limit_s: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        command = [sys.executable, *part.arguments, "--json", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            return _row(part, f"did not end within {limit_s:.0f} s")
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if "No module named" in done.stderr:
            return _row(part, last, ran=False)
        if done.returncode != 0 or not path.exists():
            return _row(part, last, stderr=done.stderr[-4000:])
        figures = json.loads(path.read_text("utf-8"))
    passed, line = part.read(figures)
    return _row(part, line, passed=passed, figures=figures)


def _row(part: Part, line: str, *, ran: bool = True, passed: bool = False, **more: Any) -> dict[str, Any]:
    return {"part": part.name, "ran": ran, "passed": passed, "line": line, **more}


def _read_kernels(figures: dict[str, Any]) -> tuple[bool, str]:
    wrong = [row for row in figures["rows"] if not row["passed"]]
    line = f"{len(figures['rows']) - len(wrong)} of {len(figures['rows'])} cases equal the float64 reference"
    return not wrong, line + (f"; first wrong: {wrong[0]}" if wrong else "")


def _read_training(figures: dict[str, Any]) -> tuple[bool, str]:
    losses = figures["losses"]
    tenth = max(1, len(losses) // 10)
    first, last = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    limit = FALLEN if len(losses) >= TRAINING_STEPS else 1.0  # a few steps, on a CPU: it falls at all
    return last < limit * first, f"loss {first:.4f} -> {last:.4f} in {len(losses)} steps"


def _read_loss(figures: dict[str, Any]) -> tuple[bool, str]:
    ours = [row for row in figures["rows"] if row["form"].endswith("fused") and row["channels_last"]]
    per_image = ", ".join(
        f"{row['dtype']} {row['form']} {row['seconds'] / figures['batch'] * 1e6:.1f} us" for row in ours
    )
    ratio = figures["heatmap_vs_dense"]
    return True, f"{ratio:.3f} of dense; an image, channels last: {per_image}"


def _read_step(figures: dict[str, Any]) -> tuple[bool, str]:
    values = {key: figures[key] for key in ("images_per_s", "heatmap_overhead", "step_vs_published")}
    line = ", ".join(f"{key} {'-' if value is None else format(value, '.4g')}" for key, value in values.items())
    return values["images_per_s"] is not None, line


def _read_data(figures: dict[str, Any]) -> tuple[bool, str]:
    versus = figures["vs_baseline"]
    line = f"{figures['images_per_s_per_core']} images/s a core"
    return True, line + (f", {versus} times the baseline" if versus else ", no imgaug to compare with")


if __name__ == "__main__":
    main()
