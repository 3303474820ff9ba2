"""Kills and signals at random moments of runs on a slow disk."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch

from integral_pose.cli import main as cli
from integral_pose.io.parallel import STOP_SIGNALS
from tests.torture.trials import Trials, step_of, wait_for, wait_for_saves

KILLS_A_RUN = 6
SLOWLY = "kills:on_a_slow_disk"
WHOLE = "kill -9: last.pt is whole, and nothing that was saved before it is lost"
WITHIN = "of these, kills within a save"
EQUAL = "killed runs: final state equal to an uninterrupted run, bit for bit"
STOPPED = "signal: status 75, last.pt whole, nothing half written"
NONE_LEFT = "signal: no process left after 3 s"


def kill_a_run(trials: Trials) -> None:
    """Kill a run several times at random moments, let it end, and compare its final state.

    Each start saves in another way: after steps, epochs or some time.
    """
    run = trials.new_run("killed")
    for _ in range(KILLS_A_RUN):
        process = trials.start(run, trials.how_to_save(), call=SLOWLY)
        wait_for_saves(process, run, trials.random.randint(0, 4))
        if trials.random.random() < 0.5:
            wait_for(lambda: is_saving(run), process)
        saved = step_of(run / "last.pt")
        time.sleep(trials.random.uniform(0, 0.06))
        if is_saving(run):
            trials.count(WITHIN).check(True, "")
        process.send(signal.SIGKILL)
        process.wait()
        found = step_of(run / "last.pt")
        trials.count(WHOLE).check(found >= saved, f"{run.name}: step {saved} was saved, after the kill {found} is")
    trials.continues_to_the_same(EQUAL, run, trials.how_to_save(), call=SLOWLY)


def signal_a_run(trials: Trials) -> None:
    """Signal a run at a random moment, the process or its group, with and without workers."""
    run, number, workers = trials.new_run("signalled"), trials.random.choice(STOP_SIGNALS), trials.random.choice((0, 2))
    process = trials.start(run, f"data.workers={workers}", "stages.0.epochs=5000", call=SLOWLY)
    wait_for_saves(process, run, trials.random.randint(1, 6))
    time.sleep(trials.random.uniform(0, 0.1))
    process.send(number, group=trials.random.random() < 0.5)
    stops = trials.ends(process, [75], run.name)
    step = step_of(run / "last.pt")
    told = f"{run.name}: {signal.Signals(number).name}, {workers} workers: status {process.exit_code}, step {step}"
    trials.count(STOPPED).check(stops and step > 0 and not list(run.rglob("*.tmp")), f"{told}: {process.said[-300:]}")
    end = time.monotonic() + 3
    while process.group() and time.monotonic() < end:
        time.sleep(0.02)
    trials.count(NONE_LEFT).check(not process.group(), f"{run.name}: {process.group()}")
    trials.tidy(run)


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


def is_saving(run: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any(run.glob(".last.pt*.tmp"))
