"""provenance.json: from what each start of a run was made."""

import json
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from integral_pose.errors import DataError
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.notices import notify
from integral_pose.runs.folder import RunFolder

PACKAGES = ("integral-pose", "torch", "torchvision", "numpy", "h5py", "imaug", "simplejpeg", "pydantic")


def record_start(folder: RunFolder, *, seed: int, device: str, step: int) -> None:
    """Add an entry for this start of the run, at `step`. A damaged file is set aside; raises OSError."""
    path = folder.path / "provenance.json"
    try:
        starts = read_starts(path)
    except DataError:
        notify(f"{path}: is no list of starts; kept as {path.name}.damaged, and begun anew")
        folder.set_aside(path)
        starts = []
    write_text_atomic(path, json.dumps([*starts, _describe_start(seed, device, step)], indent=2) + "\n")


def read_starts(path: Path) -> list[dict[str, Any]]:
    """The entries of provenance.json; [] where there is none. Raises DataError for anything else."""
    try:
        starts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}; restore it or move it away") from None
    if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
        raise DataError(f"{path}: expected a list of starts; restore it or move it away")
    return starts


def _describe_start(seed: int, device: str, step: int) -> dict[str, Any]:
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
    """What git prints in the source tree of this package; None outside one or without git."""
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
