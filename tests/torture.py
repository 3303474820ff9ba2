"""Kills, bit flips, signals and hostile files, by the dozen: `scripts/torture.sh` for minutes, the suite briefly.

Every trial is drawn from a seed, but when a kill takes effect depends on the machine, so no two rounds are alike.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from integral_pose.cli import main as cli
from integral_pose.errors import CheckpointError
from integral_pose.io.checkpoint_file import load_checkpoint
from tests.conftest import TINY, write_course
from tests.fork_server import Forked, ForkServer
from tests.nested import differences

KILLS_A_RUN = 6
STATE = ("model", "average", "optimizer", "progress", "meter", "random")
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
EXPERIMENT: dict[str, Any] = {
    **TINY,
    "data": {**TINY["data"], "val_subjects": ["S8"]},
    "stages": [{"epochs": 24, "learning_rate": 1e-3, "schedule": "cosine"}],
    "trainer": {**TINY["trainer"], "ema_decay": 0.5, "checkpoint_every": 1, "log_every": 5},
    "evaluation": {"batch_size": 4, "every": 4},
}


@dataclass
class Count:
    """One row of the table: `done` trials, of which `faults` did not end as expected."""

    what: str
    done: int = 0
    faults: list[str] = field(default_factory=list)

    def check(self, holds: bool, fault: str) -> None:
        """Count a trial, and its fault if it does not hold."""
        self.done += 1
        if not holds:
            self.faults.append(fault)

    def row(self) -> dict[str, Any]:
        """The row as plain values."""
        verdict = "held" if self.done and not self.faults else "FAILED" if self.faults else "not tried"
        found = self.done - len(self.faults)
        return {
            "what": self.what,
            "expected": self.done,
            "found": found,
            "verdict": verdict,
            "faults": self.faults[:20],
        }


class Torture:
    """All trials, in one folder with the processes of one fork server."""

    def __init__(self, server: ForkServer, folder: Path, seed: int) -> None:
        self.server, self.folder, self.random = server, folder, random.Random(seed)
        self.valid = Count("kill -9: last.pt is whole and not older than before")
        self.equal = Count("killed runs: final state equal to an uninterrupted run, bit for bit")
        self.flips = Count("flipped bit in a checkpoint: found")
        self.stopped = Count("signal: status 75, last.pt whole, nothing half written")
        self.left_over = Count("signal: no process left after 3 s")
        self.refused = Count("hostile file: refused in under 0.1 s and 50 MB")
        self.kills_while_saving = 0
        write_course(folder / "data")
        self.yaml = folder / "experiment.yaml"
        values = {**EXPERIMENT, "data": {**EXPERIMENT["data"], "root": str(folder / "data")}}
        self.yaml.write_text(yaml.safe_dump(values))
        whole = self.start("whole")
        if whole.wait(300):
            raise AssertionError(f"the uninterrupted run failed: {whole.said[-2000:]}")
        self.expected = load_checkpoint(folder / "whole/last.pt")

    def start(self, run: str, *overrides: str) -> Forked:
        """A process that trains in a folder on a slow disk."""
        arguments = ["train", str(self.yaml), f"run_dir={self.folder / run}", *overrides]
        return self.server.start(arguments, said=self.folder / f"{run}.said", call="tests.torture:on_a_slow_disk")

    def kill_a_run(self) -> None:
        """Kill a run several times at random moments, let it end, and compare its final state."""
        name = f"killed{self.equal.done}"
        run, step = self.folder / name, 0
        for _ in range(KILLS_A_RUN):
            process = self.start(name)
            self.wait_for_saves(process, run, self.random.randint(0, 5))
            if self.random.random() < 0.5:
                wait_for(lambda: is_saving(run), process)
            time.sleep(self.random.uniform(0, 0.06))
            self.kills_while_saving += is_saving(run)
            process.send(signal.SIGKILL)
            process.wait()
            before, step = step, step_of(run)
            self.valid.check(step >= before, f"{name}: stood after step {before}, after the kill after {step}")
        process = self.start(name)
        ended = process.wait(300)
        parts = load_checkpoint(run / "last.pt") if ended == 0 else {}
        found = differences({p: parts.get(p) for p in STATE}, {p: self.expected[p] for p in STATE})
        self.equal.check(not found, f"{name}: status {ended}, differs in {found[:5]}")
        self.tidy(name)

    def flip_a_bit(self) -> None:
        """Change one bit of a checkpoint and try to load it."""
        content = bytearray((self.folder / "whole/last.pt").read_bytes())
        at, bit = self.random.randrange(len(content)), self.random.randrange(8)
        content[at] ^= 1 << bit
        path = self.folder / "flipped.pt"
        path.write_bytes(content)
        try:
            load_checkpoint(path)
            self.flips.check(False, f"bit {bit} of byte {at} of {len(content)} was not noticed")
        except CheckpointError:
            self.flips.check(True, "")

    def signal_a_run(self) -> None:
        """Signal a run at a random moment, the process or its group, with and without workers."""
        name = f"signalled{self.stopped.done}"
        run, number = self.folder / name, self.random.choice(SIGNALS)
        workers = self.random.choice((0, 2))
        process = self.start(name, f"data.workers={workers}", "stages.0.epochs=5000")
        self.wait_for_saves(process, run, self.random.randint(1, 6))
        time.sleep(self.random.uniform(0, 0.1))
        process.send(number, group=self.random.random() < 0.5)
        code = process.wait()
        fits = code == 75 and step_of(run) > 0 and not list(run.rglob("*.tmp"))
        self.stopped.check(fits, f"{name}: {signal.Signals(number).name}, {workers} workers: status {code}, "
                                 f"step {step_of(run)}: {process.said[-300:]}")  # fmt: skip
        end = time.monotonic() + 3
        while process.group() and time.monotonic() < end:
            time.sleep(0.02)
        self.left_over.check(not process.group(), f"{name}: {process.group()}")
        self.tidy(name)

    def hostile(self) -> None:
        """Every file of tests/test_hostile.py once."""
        from tests.test_hostile import CASES, import_everything, test_hostile_files_are_refused

        import_everything()
        for name in CASES:
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                fault = ""
                try:
                    test_hostile_files_are_refused(name, Path(folder))
                except BaseException as error:  # pytest's own "did not raise" is no Exception
                    fault = f"{name}: {error!r}"
                self.refused.check(not fault, fault)

    def wait_for_saves(self, process: Forked, run: Path, number: int) -> None:
        """Return after `number` more checkpoints; a new file has another inode or time."""
        for _ in range(number):
            before = _stamp(run)
            wait_for(lambda: _stamp(run) != before, process)  # noqa: B023 - called at once

    def tidy(self, name: str) -> None:
        """Remove the folder of a finished trial."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def rows(self) -> list[dict[str, Any]]:
        """The table's rows."""
        counts = (self.valid, self.equal, self.flips, self.stopped, self.left_over, self.refused)
        return [count.row() for count in counts]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The figures as text."""
    lines = [f"{'what':72}{'expected':>9}{'found':>7}  verdict"]
    lines += [f"{row['what']:72}{row['expected']:9}{row['found']:7}  {row['verdict']}" for row in rows]
    lines += [f"  {fault}" for row in rows for fault in row["faults"]]
    return "\n".join(lines)


def on_a_slow_disk(arguments: list[str]) -> int:
    """Run a command with checkpoints that take some 70 ms to write and sync, so that kills interrupt them."""
    fsync, save = os.fsync, torch.save

    def slowly(file: Any) -> None:
        time.sleep(0.02)
        fsync(file)

    def save_in_pieces(content: Any, file: Any, **options: Any) -> None:
        whole = io.BytesIO()
        save(content, whole, **options)
        view = whole.getbuffer()
        for piece in range(8):
            file.write(view[piece * len(view) // 8 : (piece + 1) * len(view) // 8])
            file.flush()
            time.sleep(0.006)

    os.fsync, torch.save = slowly, save_in_pieces
    return cli.main(arguments)


def wait_for(condition: Callable[[], bool], process: Forked, timeout_s: float = 60) -> None:
    """Return once the condition holds or the process has ended by itself."""
    end = time.monotonic() + timeout_s
    while not condition() and process.poll() is None:
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {process.said[-2000:]}")
        time.sleep(0.002)


def is_saving(run: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any(run.glob(".last.pt*.tmp"))


def step_of(run: Path) -> int:
    """Step of the last checkpoint; -1 if it is damaged, 0 before the first."""
    if not (run / "last.pt").exists():
        return 0
    try:
        return int(load_checkpoint(run / "last.pt")["progress"]["step"])
    except CheckpointError:
        return -1


def _stamp(run: Path) -> tuple[int, int] | None:
    try:
        status = (run / "last.pt").stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns
