"""Runs that are stopped for longer than they wait for a worker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from integral_pose.cli import main as cli
from integral_pose.data import loader, workers
from tests.fork_server import Forked, children
from tests.torture.trials import Trials, wait_for_saves

STOPPED = "run stopped (SIGSTOP) beyond its patience, its process or all of them: status 0, final state equal"
WORKER_STOPPED = "a worker stopped beyond the patience: status 6 with the images' names, continues to equal"
PATIENCE_S = 2


def suspend(trials: Trials) -> None:
    """Stop a run for longer than it waits for a worker: its process, all of them, or a worker alone."""
    for who in ("process", "all", "worker"):
        run = trials.new_run("suspended")
        options = [f"data.worker_timeout_s={PATIENCE_S}", "data.workers=2"]
        process = trials.start(run, *options, call="suspension:in_short_parts")
        wait_for_saves(process, run, trials.random.randint(1, 3))
        helpers = children(process.pid)
        stopped = {"process": [process.pid], "all": [process.pid, *helpers], "worker": helpers[:1]}[who]
        _stop_for(stopped, PATIENCE_S * 2.5)
        if who == "worker":
            _after_a_stopped_worker(trials, process, run)
        else:
            ended = trials.ends(process, [0], run.name)
            trials.compare(STOPPED, run, f"{who}: " + ("" if ended else process.said[-600:]))
        trials.tidy(run)


def _after_a_stopped_worker(trials: Trials, process: Forked, run: Path) -> None:
    told = trials.ends(process, [6], run.name) and "a worker process hangs at one of the images" in process.said
    if not told:
        trials.count(WORKER_STOPPED).check(told, f"{run.name}: status {process.exit_code}, {process.said[-600:]}")
    trials.continues_to_the_same(WORKER_STOPPED, run)


def _stop_for(pids: list[int], seconds: float) -> None:
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        time.sleep(seconds)


def in_short_parts(arguments: list[str]) -> int:
    """Run a command that counts its patience in parts of half a second instead of ten, with slower images."""
    workers.LONGEST_PART_S = 0.5
    decode = loader.decode_crop_scaled

    def slowly(*some: Any) -> Any:
        time.sleep(0.02)
        return decode(*some)

    loader.decode_crop_scaled = slowly
    return cli.main(arguments)
