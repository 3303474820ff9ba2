"""The folder that explains a run: configuration, provenance, metrics, pictures, checkpoints."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from integral_pose.files import write_text_atomic

PACKAGES = ("integral-pose", "torch", "torchvision", "numpy", "h5py", "imaug", "simplejpeg", "pydantic")


class RunFolder:
    """Writes a run's files. In the other processes of a distributed run it writes nothing.

    config.yaml      the resolved configuration
    provenance.json  a list, one entry a start: command, time, git commit, versions, machine
    metrics.jsonl    one row a logging step or score
    pictures/        what the model sees and says, a picture an epoch
    tensorboard/     the same scalars and pictures
    """

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path, self.writes = path, writes
        self._board: SummaryWriter | None = None

    @property
    def last(self) -> Path:
        """Where the run continues from."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """The weights with the best score so far."""
        return self.path / "best.pt"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    def start(self, config_yaml: str, *, seed: int, device: str, step: int) -> None:
        """Record a start of the run at `step`; rows that an earlier start wrote beyond it are dropped."""
        if not self.writes:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        write_text_atomic(self.path / "config.yaml", config_yaml)
        provenance = self.path / "provenance.json"
        starts = json.loads(provenance.read_text("utf-8")) if provenance.exists() else []
        starts.append(_provenance(seed, device, step))
        write_text_atomic(provenance, json.dumps(starts, indent=2) + "\n")
        kept = [row for row in read_metrics(self.metrics) if row["step"] <= step]
        write_text_atomic(self.metrics, "".join(json.dumps(row) + "\n" for row in kept))
        self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=step + 1)

    def log(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """One row of metrics.jsonl, and as many scalars for TensorBoard under `group`/."""
        if self._board is None:
            return
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "group": group, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"{group}/{name}", value, step)

    def show(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """A picture (H, W, 3) for the folder and for TensorBoard."""
        if self._board is None:
            return
        (self.path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(picture).save(self.path / "pictures" / f"{name}_step{step:07d}.png")
        self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush what is waiting."""
        if self._board is not None:
            self._board.close()
            self._board = None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _provenance(seed: int, device: str, step: int) -> dict[str, Any]:
    return {
        "command": shlex.join(sys.argv),
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "start_step": step,
        "seed": seed,
        "device": device,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changes": _git("status", "--porcelain", "--untracked-files=no"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _git(*arguments: str) -> str | None:
    """What git says of the source tree this package lies in; None outside one or without git."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
