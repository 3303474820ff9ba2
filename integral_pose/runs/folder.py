"""The folder that explains a run: configuration, provenance, metrics, pictures, checkpoints."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from integral_pose.errors import CheckpointError, DataError, OutputError
from integral_pose.io.atomic import remove_leftovers, write_text_atomic
from integral_pose.runs.checkpoint import previous_checkpoints
from integral_pose.runs.lock import NAME as LOCK_NAME
from integral_pose.runs.lock import FolderLock

PACKAGES = ("integral-pose", "torch", "torchvision", "numpy", "h5py", "imaug", "simplejpeg", "pydantic")

# What training writes, and what others may have put beside it before the run had a checkpoint.
WRITTEN = {
    "last.pt", "previous.pt", "best.pt", "config.yaml", "provenance.json", "metrics.jsonl", "curves.png", "status.json"
}  # fmt: skip
ALSO_OURS = {LOCK_NAME, "pictures", "tensorboard"}
LOGS = {".log", ".out", ".err"}  # of the shell or the scheduler


class RunFolder:
    """Writes a run's files. In the other processes of a distributed run it writes nothing.

    What only tells of the run - rows, curves, pictures - never stops it: where it cannot be written, that is said
    once. Rows that are not on disk are kept and written with the next ones.

    config.yaml      the resolved configuration
    provenance.json  a list, one entry a start: command, time, git commit, versions, machine
    metrics.jsonl    one row a logging step or score
    pictures/        what the model sees and says, a picture an epoch
    tensorboard/     the same scalars and pictures
    """

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path, self.writes = path, writes
        self._board: SummaryWriter | None = None
        self._lock, self._started = FolderLock(path), False
        self._unwritten = ""  # rows of metrics.jsonl
        self._said: set[str] = set()

    def open(self) -> None:
        """Take the folder for this run and clear what a killed one left half written.

        Raises OutputError where it cannot be written or another run holds it, CheckpointError where it holds
        something else than a run that can be continued.
        """
        if not self.writes:
            return
        self._lock.acquire()
        self._require_ours()
        if removed := remove_leftovers(self.path, WRITTEN):
            _say(f"{self.path}: removed what a killed run left half written: {', '.join(removed)}")

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
        self._started = True
        try:
            write_text_atomic(self.path / "config.yaml", config_yaml)
            provenance = self.path / "provenance.json"
            starts = [*self._earlier_starts(provenance), _provenance(seed, device, step)]
            write_text_atomic(provenance, json.dumps(starts, indent=2) + "\n")
            kept = [row for row in read_metrics(self.metrics) if row["step"] <= step]
            write_text_atomic(self.metrics, "".join(json.dumps(row) + "\n" for row in kept))
            self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=step + 1)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error}") from None

    def log(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """One row of metrics.jsonl, and as many scalars for TensorBoard under `group`/."""
        if not self.writes:
            return
        self._unwritten += json.dumps({"step": step, "group": group, **values}) + "\n"
        self.attempt("metrics.jsonl", self._append_rows)
        for name, value in values.items():
            self._on_board("add_scalar", f"{group}/{name}", value, step)

    def show(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """A picture (H, W, 3) for the folder and for TensorBoard."""
        if not self.writes:
            return

        def save() -> None:
            (self.path / "pictures").mkdir(exist_ok=True)
            Image.fromarray(picture).save(self.path / "pictures" / f"{name}_step{step:07d}.png")

        self.attempt("pictures", save)
        self._on_board("add_image", name, picture, step, dataformats="HWC")

    def attempt(self, what: str, write: Callable[[], None]) -> None:
        """Write something that a run can do without; the first failure of a kind is said."""
        try:
            write()
        except OSError as error:
            if what not in self._said:
                self._said.add(what)
                _say(f"{self.path}: {what} cannot be written: {error}. Training goes on without it")

    def set_aside(self, damaged: Path) -> None:
        """Give a damaged file another name, so that the next one to be saved does not push out a whole one."""
        if self.writes:
            aside = damaged.with_name(f"{damaged.name}.damaged")
            self.attempt(aside.name, lambda: _move(damaged, aside))

    def close(self) -> None:
        """Flush what is waiting, and let another run have the folder."""
        self._on_board("close")
        self._board = None
        self._lock.release(keep=self._started)  # a run that never began leaves no trace

    def _earlier_starts(self, provenance: Path) -> list[dict[str, Any]]:
        """What provenance.json holds; a damaged one is kept under another name, since a run can do without it."""
        try:
            return read_starts(provenance)
        except DataError:
            _say(f"{provenance}: is no list of starts; kept as {provenance.name}.damaged, and begun anew")
            self.set_aside(provenance)
            return []

    def _append_rows(self) -> None:
        end = self.metrics.stat().st_size if self.metrics.exists() else 0
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(self._unwritten)
        except OSError:
            with suppress(OSError):
                os.truncate(self.metrics, end)  # half a row would hide those behind it
            raise
        self._unwritten = ""

    def _on_board(self, method: str, *arguments: Any, **options: Any) -> None:
        if self._board is None:
            return
        try:
            getattr(self._board, method)(*arguments, **options)
        except Exception as error:  # what its dead thread left behind raises more than OSError
            self._board = None
            _say(f"{self.path}: TensorBoard's file cannot be written: {error}. Training goes on without it")

    def _require_ours(self) -> None:
        if self.last.exists() or previous_checkpoints(self.last):
            return
        instead = "Choose another folder with run_dir=PATH, or move this one away"
        if self.best.exists():
            raise CheckpointError(f"{self.path}: holds best.pt, but no last.pt to continue from. {instead}")
        known = WRITTEN | ALSO_OURS
        foreign = sorted(
            entry.name
            for entry in self.path.iterdir()
            if entry.name.removesuffix(".damaged") not in known
            and entry.suffix not in LOGS
            and not entry.name.startswith(".")
        )
        if foreign:
            more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
            raise CheckpointError(
                f"{self.path}: is in use for something else: it holds {', '.join(foreign[:5])}{more}, and no "
                f"checkpoint. {instead}"
            )


def read_starts(path: Path) -> list[dict[str, Any]]:
    """The entries of provenance.json; [] where there is none. Raises DataError for anything else."""
    try:
        starts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}; restore it or move it away") from None
    if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
        raise DataError(f"{path}: expected a list of starts; restore it or move it away")
    return starts


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


def _move(path: Path, target: Path) -> None:
    path.replace(target)


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


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
