"""`scripts/torture.sh` in small: it finds a program that holds to hold, and one that does not not to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import torture
from tests.fork_server import ForkServer
from tests.torture import Count, Torture

KILLED_RUNS, SIGNALS, FLIPS = 5, 10, 300  # runs of six kills each; the script makes at least twice as many


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_signals_and_flips(tmp_path: Path, fork_server: ForkServer) -> None:
    trials = Torture(fork_server, tmp_path, seed=0)
    for _ in range(FLIPS):
        trials.flip_a_bit()
    for _ in range(KILLED_RUNS):
        trials.kill_a_run()
    for _ in range(SIGNALS):
        trials.signal_a_run()
    rows = {row["what"]: row for row in trials.rows()}
    assert [row["faults"] for row in rows.values()] == [[]] * 6
    done = [count.done for count in (trials.valid, trials.equal, trials.stopped, trials.left_over, trials.flips)]
    assert done == [6 * KILLED_RUNS, KILLED_RUNS, SIGNALS, SIGNALS, FLIPS]


def test_a_fault_is_in_the_table() -> None:
    count = Count("kill -9: last.pt is whole")
    count.check(True, "fine")
    count.check(False, "killed0: stood after step 4, after the kill after -1")
    row = count.row()
    assert (row["expected"], row["found"], row["verdict"]) == (2, 1, "FAILED")
    assert "killed0: stood after step 4" in torture.table([row])
    assert Count("x").row()["verdict"] == "not tried"


def test_a_damaged_checkpoint_is_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "last.pt").write_bytes(b"half a file")
    assert torture.step_of(tmp_path) == -1
    assert torture.step_of(tmp_path / "none") == 0
