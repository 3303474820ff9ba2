"""Every signal by which somebody asks a process to end is a request to save and leave."""

from __future__ import annotations

import os
import signal
import time

import pytest

from integral_pose.runs.stop import Signalled, signals_as_errors, stop_signal

ASKING = ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU"]


def status_of_child(name: str, *, ignored: bool = False) -> int:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.Signals[name], signal.SIG_IGN if ignored else signal.SIG_DFL)
        with stop_signal() as stop:
            os.kill(os.getpid(), signal.Signals[name])
            os._exit(75 if stop and stop.name == name else 0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("name", ASKING)
def test_training_hears_it(name: str) -> None:
    assert status_of_child(name) == 75


def test_nohup_stays_in_force() -> None:
    assert status_of_child("SIGHUP", ignored=True) == 0


@pytest.mark.parametrize("name", ASKING)
def test_other_commands_tidy_up(name: str) -> None:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.Signals[name], signal.SIG_DFL)
        try:
            with signals_as_errors():
                os.kill(os.getpid(), signal.Signals[name])
        except Signalled as error:
            os._exit(75 if name in str(error) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 75


def test_signals_of_a_child_that_was_just_forked_are_not_ours() -> None:
    """A worker gets the Ctrl-C of the terminal too; before it ignores it, that was taken for a second one here."""
    trial = os.fork()
    if trial == 0:
        with stop_signal() as stop:
            child = os.fork()
            if child == 0:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)
                os._exit(0)
            os.waitpid(child, 0)
            time.sleep(0.3)
            os._exit(7 if not stop else 8)
    assert os.waitstatus_to_exitcode(os.waitpid(trial, 0)[1]) == 7
