"""Runs whose output goes nowhere."""

from __future__ import annotations

import os

from integral_pose.cli import main as cli
from tests.torture.trials import Trials

STREAMS = "stdout, stderr or both full, closed or without a reader: status 0, final state equal, bit for bit"


def lose_output(trials: Trials) -> None:
    """A whole run for each way in which its output can be lost."""
    for how in LOST_OUTPUT:
        run = trials.new_run("silent")
        trials.continues_to_the_same(STREAMS, run, call="lost_output:with_lost_output", environment={"LOSE": how})


LOST_OUTPUT = ("stdout full", "stderr full", "both full", "both closed", "nobody reads")


def with_lost_output(arguments: list[str]) -> int:
    """Run a command whose output is lost as the variable LOSE says."""
    how = os.environ["LOSE"]
    numbers = {"stdout full": [1], "stderr full": [2]}.get(how, [1, 2])
    if how == "both closed":
        os.closerange(1, 3)
        return cli.main(arguments)
    reading, writing = os.pipe()
    os.close(reading)
    target = writing if how == "nobody reads" else os.open("/dev/full", os.O_WRONLY)
    for number in numbers:
        os.dup2(target, number)
    return cli.main(arguments)
