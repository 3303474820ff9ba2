"""Runs on a disk that gets full and holds their log too."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from integral_pose.cli import main as cli
from integral_pose.runs import background_writer
from integral_pose.runs.status import read_status
from integral_pose.training.step import TrainStep
from tests.fork_server import Forked
from tests.torture.trials import Trials, step_of, wait_for_saves

FULL = "full disk with the log on it, later with room: status 0, final state equal, bit for bit"
FULL_AT_END = "full disk with the log on it at the end or at SIGTERM: status 5, last.pt whole, continues to equal"
NON_FINITE = "non-finite losses on a full disk with the log on it: status 4, and status.json says why"
DISK_BYTES = 3_000_000
Torment = Callable[[Trials, Path], None]


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """A file system of three megabytes at `place`; whether this machine lets us have one."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    is_mounted = sys.platform == "linux" and not subprocess.run(mount, capture_output=True, check=False).returncode
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes the room that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return filler


def fill_the_disk(trials: Trials, torments: Sequence[Torment] = ()) -> None:
    """Runs on a disk that gets full while they train."""
    for torment in torments or (for_a_while, at_the_end, at_a_signal, non_finite):
        run = trials.new_run("full")
        place = trials.folder / f"{run.name}.disk"
        with small_disk(place) as is_mounted:
            if is_mounted:
                torment(trials, place / run.name)
            else:
                trials.count(FULL).untried = "mounting a file system needs root on Linux"


def _begun(trials: Trials, run: Path, *overrides: str, **options: Any) -> Forked:
    """A run on a small disk that has saved once."""
    options = {"call": "full_disks:impatient", "said": run.with_suffix(".log"), **options}
    process = trials.start(run, *overrides, **options)
    wait_for_saves(process, run, 1)
    return process


def for_a_while(trials: Trials, run: Path) -> None:
    """There is room again while it trains."""
    process = _begun(trials, run, trials.how_to_save())
    filler = fill(run.parent)
    time.sleep(trials.random.uniform(0.1, 0.5))
    filler.unlink()
    trials.ends(process, [0], run.name)
    trials.compare(FULL, run, f"status {process.exit_code}")


def at_the_end(trials: Trials, run: Path) -> None:
    """There is no room at its end; once there is, it continues."""
    process = _begun(trials, run)
    filler = fill(run.parent)
    _ends_without_room_and_continues(trials, process, run, filler)


def at_a_signal(trials: Trials, run: Path) -> None:
    """There is no room when SIGTERM comes; once there is, it continues."""
    process = _begun(trials, run, call="full_disks:impatient_and_slow")
    filler = fill(run.parent)
    time.sleep(0.3)
    process.send(signal.SIGTERM)
    _ends_without_room_and_continues(trials, process, run, filler)


def _ends_without_room_and_continues(trials: Trials, process: Forked, run: Path, filler: Path) -> None:
    fits = trials.ends(process, [5], run.name) and step_of(run / "last.pt") > 0
    if not fits:
        trials.count(FULL_AT_END).check(fits, f"{run.name}: status {process.exit_code}, {process.said[-300:]}")
    filler.unlink()
    trials.continues_to_the_same(FULL_AT_END, run)


def non_finite(trials: Trials, run: Path) -> None:
    """All losses are NaN from when the disk is full."""
    process = _begun(trials, run, call="full_disks:impatient_and_not_finite")
    fill(run.parent)
    ended, status = trials.ends(process, [4], run.name), read_status(run)
    fits = ended and (status["state"], status["exit_code"]) == ("failed", 4) and "not finite" in status["message"]
    fits = fits and step_of(run / "last.pt") > 0
    trials.count(NON_FINITE).check(fits, f"{run.name}: status {process.exit_code}, {status}")


def impatient(arguments: list[str]) -> int:
    """Run a command that tries again at the end after a twentieth of a second instead of five."""
    background_writer.LAST_RETRY_S = 0.05
    return cli.main(arguments)


def impatient_and_slow(arguments: list[str]) -> int:
    """The same with steps of a twentieth of a second."""
    step = TrainStep.__call__
    TrainStep.__call__ = lambda self, *a: (time.sleep(0.05), step(self, *a))[1]  # type: ignore[method-assign]
    return impatient(arguments)


def impatient_and_not_finite(arguments: list[str]) -> int:
    """The same whose losses are NaN as soon as the disk is full."""
    step = TrainStep.__call__

    def spoilt(self: TrainStep, batch: Any, *more: Any) -> Any:
        time.sleep(0.02)
        filler = Path(arguments[2].partition("=")[2]).parent / "filler"
        if filler.exists():
            batch.joints_camera_mm.fill_(float("nan"))
        return step(self, batch, *more)

    TrainStep.__call__ = spoilt  # type: ignore[method-assign]
    return impatient(arguments)
