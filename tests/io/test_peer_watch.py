"""A process that gives no more signs of life is noticed; one that leaves in order is not."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch.distributed as dist

from integral_pose.io import peer_watch
from integral_pose.io.peer_watch import watched_peers

SILENCE_S = 0.5


def test_the_silent_one_is_named() -> None:
    store, lost, noticed = dist.HashStore(), [], threading.Event()

    def on_lost(ranks: list[int]) -> None:
        lost.append(ranks)
        noticed.set()

    def leave_by_error() -> None:
        with watched_peers(store, 1, 3, 60.0, lambda ranks: None):
            raise KeyError

    with watched_peers(store, 0, 3, SILENCE_S, on_lost), watched_peers(store, 2, 3, SILENCE_S, lambda ranks: None):
        with pytest.raises(KeyError):
            leave_by_error()
        assert noticed.wait(20)
    assert 1 in lost[0]  # on a busy machine another may have been late too


def test_who_left_in_order_and_who_lives_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(peer_watch.time, "monotonic", lambda: now_s)
    store = dist.HashStore()
    watch = peer_watch._PeerWatch(store, 0, 4, 10.0, lambda ranks: None)
    store.set("alive/1", "1")
    for now_s in range(1, 30):  # rank 1 stops after its first sign, 2 leaves at once, 3 lives
        store.set("alive/2", "left")
        store.set("alive/3", str(now_s))
        assert watch._silent() == ([1] if now_s > 11 else [])


def test_time_in_which_all_were_stopped_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a scheduler suspends a job, for an hour after the third second. Rank 1 lives on, rank 2 does not."""
    now_s = 0.0
    monkeypatch.setattr(peer_watch.time, "monotonic", lambda: now_s)
    store = dist.HashStore()
    watch = peer_watch._PeerWatch(store, 0, 3, 10.0, lambda ranks: None)
    for second in range(1, 20):
        now_s = second + 3600.0 * (second > 3)
        if second <= 3 or second > 5:  # who wakes a little later
            store.set("alive/1", str(second))
        if second <= 3:
            store.set("alive/2", str(second))
        assert watch._silent() == ([2] if second > 12 else [])  # two beats of the hour count


STUCK = """
import sys, time
from pathlib import Path
import torch.distributed as dist
import torch.cuda
from integral_pose.io import distributed
from integral_pose.runs.status import run_status
import os
os.environ |= {"WORLD_SIZE": "2", "LOCAL_RANK": "0"}
distributed.end_with_parent = lambda number: None
torch.cuda.set_device = lambda device: None
dist.rendezvous = lambda *a, **k: iter([(dist.HashStore(), 0, 2)])
dist.init_process_group = lambda *a, **k: None
with run_status(Path(sys.argv[1]), 0) as status, distributed.processes("cuda", 1.0, status.ended):
    status.is_ours = True
    status.running(7, 10)
    time.sleep(60)  # an exchange that no one answers
"""


def test_a_process_that_waits_for_a_lost_one_ends_with_its_status(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STUCK, str(tmp_path)], timeout=50, check=False, capture_output=True)
    assert done.returncode == 6, done.stderr
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["exit_code"], status["step"]) == ("failed", 6, 7)
    assert status["message"].startswith("process 1 of 0..1 ended, or was silent for 1 s (reports process 0 on")
