"""What all torments share: one experiment, an uninterrupted run of it, and processes that train it again."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import yaml

from integral_pose.errors import CheckpointError
from integral_pose.io.checkpoint_file import load_checkpoint
from tests.conftest import TINY, write_course
from tests.fork_server import Forked, ForkServer
from tests.nested import differences
from tests.torture.counts import Count

STATE = ("model", "average", "optimizer", "progress", "meter", "random", "skipped")
EPOCHS = 16  # of two steps
EXPERIMENT: dict[str, Any] = {
    **TINY,
    "data": {**TINY["data"], "val_subjects": ["S8"]},
    "stages": [{"epochs": EPOCHS, "learning_rate": 1e-3, "schedule": "cosine"}],
    "trainer": {**TINY["trainer"], "ema_decay": 0.5, "checkpoint_every": 1, "log_every": 5, "pictures_every": 6},
    "evaluation": {"batch_size": 4, "every": 4},
}
# Each step, every so many, each epoch alone, and by time.
SAVING = tuple(f"trainer.checkpoint_every={every}" for every in ("1", "7", "null", "0.05s", "0.2s"))
SOON_S = 90.0  # until which whatever must end has ended, on a busy machine


class Trials:
    """The folder and the processes of all trials, and their counts."""

    def __init__(self, server: ForkServer, folder: Path, seed: int) -> None:
        self.server, self.folder, self.random = server, folder, random.Random(seed)
        self._counts: dict[str, Count] = {}
        self._runs = 0
        write_course(folder / "data")
        self.yaml = self.write_yaml("experiment", folder / "data")
        whole = self.start(folder / "whole")
        if whole.wait(300):
            raise AssertionError(f"the uninterrupted run failed: {whole.said[-2000:]}")
        self.expected = load_checkpoint(folder / "whole/last.pt")

    def write_yaml(self, name: str, data: Path) -> Path:
        """The experiment on a set of its own."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**EXPERIMENT, "data": {**EXPERIMENT["data"], "root": str(data)}}))
        return path

    def count(self, what: str) -> Count:
        """The row of the table with this name."""
        return self._counts.setdefault(what, Count(what))

    def rows(self) -> list[dict[str, Any]]:
        """The table's rows."""
        return [count.row() for count in self._counts.values()]

    def new_run(self, kind: str) -> Path:
        """The folder of another run."""
        self._runs += 1
        return self.folder / f"{kind}{self._runs}"

    def how_to_save(self) -> str:
        """When checkpoints are written, drawn anew."""
        return self.random.choice(SAVING)

    def start(
        self, run: Path, *overrides: str, call: str | None = None, yaml: Path | None = None, **options: Any
    ) -> Forked:
        """A process that trains in a folder; `call` is the function of this package that does it."""
        arguments = ["train", str(yaml or self.yaml), f"run_dir={run}", *overrides]
        said = options.pop("said", self.folder / f"{run.name}.said")
        return self.server.start(arguments, said=said, call=call and f"tests.torture.{call}", **options)

    def ends(self, process: Forked, expected: Collection[int], name: str, timeout_s: float = SOON_S) -> bool:
        """Whether it ends by itself and with one of these statuses; one that hangs is counted and killed."""
        end = time.monotonic() + timeout_s
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        hangs = process.exit_code is None
        self.count("a process that ends by itself or by a signal does so: none hangs").check(not hangs, name)
        process.end()
        return not hangs and process.exit_code in expected

    def continues_to_the_same(self, what: str, run: Path, *overrides: str, **options: Any) -> None:
        """Let a run come to its end, and compare its final state with the uninterrupted run's."""
        process = self.start(run, *overrides, **options)
        ended = self.ends(process, [0], run.name)
        self.compare(what, run, f"status {process.exit_code}: {'' if ended else process.said[-600:]}")
        self.tidy(run)

    def compare(self, what: str, run: Path, told: str = "", but: Collection[str] = ()) -> None:
        """Count whether the state of a run that has ended, `but` for some parts, is that of the uninterrupted one."""
        try:
            found = load_checkpoint(run / "last.pt")
        except CheckpointError as error:
            found, told = {}, f"{told} {error}"
        parts = [part for part in STATE if part not in but]
        differing = differences({p: found.get(p) for p in parts}, {p: self.expected[p] for p in parts})
        self.count(what).check(not differing, f"{run}: {told} differs in {differing[:5]}")

    def tidy(self, run: Path) -> None:
        """Remove the folder of a finished trial."""
        shutil.rmtree(run, ignore_errors=True)


def wait_for(condition: Callable[[], bool], process: Forked, timeout_s: float = SOON_S) -> None:
    """Return once the condition holds or the process has ended by itself."""
    end = time.monotonic() + timeout_s
    while not condition() and process.poll() is None:
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {process.said[-2000:]}")
        time.sleep(0.002)


def wait_for_saves(process: Forked, run: Path, number: int) -> None:
    """Return after `number` more checkpoints; a new file has another inode or time."""
    for _ in range(number):
        before = _stamp(run)
        wait_for(lambda: _stamp(run) != before, process)  # noqa: B023 - called at once


def step_of(path: Path) -> int:
    """Step of a checkpoint; -1 if it is damaged, 0 where there is none."""
    if not path.exists():
        return 0
    try:
        return int(load_checkpoint(path)["progress"]["step"])
    except CheckpointError:
        return -1


def _stamp(run: Path) -> tuple[int, int] | None:
    try:
        status = (run / "last.pt").stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns
