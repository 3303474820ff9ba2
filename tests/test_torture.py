"""`scripts/torture.sh` in small: it finds a program that holds to hold, and one that does not not to."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fork_server import ForkServer
from tests.torture import damage, full_disks, kills, power_cuts, scoring_faults
from tests.torture.counts import Count, table
from tests.torture.disk import Disk
from tests.torture.recorded_writes import HEAD, Record, build_recorder, read_records
from tests.torture.trials import Trials, step_of


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    folder = tmp_path_factory.mktemp("torture")
    with ForkServer(build_recorder(folder)) as server:
        yield Trials(server, folder, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_signals_and_flips(trials: Trials) -> None:
    for _ in range(300):
        damage.flip_a_bit(trials)
    for _ in range(2):
        kills.kill_a_run(trials)
    for _ in range(4):
        kills.signal_a_run(trials)
    rows = {row["what"]: row for row in trials.rows()}
    assert [row["faults"] for row in rows.values()] == [[]] * len(rows)
    assert rows[kills.WHOLE]["expected"] == 2 * kills.KILLS_A_RUN
    assert rows[kills.EQUAL]["expected"] == 2
    assert rows[kills.STOPPED]["expected"] == rows[kills.NONE_LEFT]["expected"] == 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_power_cuts_and_faults_of_the_machine(trials: Trials) -> None:
    power_cuts.cut_the_power(trials, 2)
    full_disks.fill_the_disk(trials, [full_disks.non_finite])
    scoring_faults.fail_in_scoring_and_pictures(trials)
    assert [row["faults"] for row in trials.rows() if row["verdict"] == "FAILED"] == []


def test_a_fault_is_in_the_table() -> None:
    count = Count("kill -9: last.pt is whole")
    count.check(True, "fine")
    count.check(False, "killed0: step 4 was saved, after the kill -1 is")
    row = count.row()
    assert (row["expected"], row["found"], row["verdict"]) == (2, 1, "FAILED")
    assert "| kill -9: last.pt is whole | 2 | 1 |" in table([row])
    assert "killed0: step 4 was saved" in table([row])
    assert "| x | not tried | 0 |" in table([Count("x", untried="no root").row()])


def test_a_damaged_checkpoint_is_no_step(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"half a file")
    assert step_of(tmp_path / "last.pt") == -1
    assert step_of(tmp_path / "none") == 0


def record(kind: str, inode: int = 0, number: int = 0, first: object = b"", second: object = b"") -> Record:
    return Record(
        kind, inode, number, *(each if isinstance(each, bytes) else str(each).encode() for each in (first, second))
    )


def after_cuts(records: list[Record], folder: Path) -> set[tuple[tuple[str, bytes], ...]]:
    """The files that forty cuts after these operations leave."""
    found = set()
    for seed in range(40):
        disk = Disk(folder)
        disk.do(records)
        disk.write_after_a_cut(to := folder.with_name(f"cut{len(list(folder.parent.iterdir()))}"), random.Random(seed))
        found.add(tuple((path.name, path.read_bytes()) for path in sorted(to.iterdir())))
    return found


def test_what_a_power_cut_leaves(tmp_path: Path) -> None:
    """By hand: a file of one byte is replaced by another; what was synced decides which are possible."""
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "last").write_bytes(b"1")
    old, new, new_file = ("last", b"1"), ("last", b"2"), ("tmp", b"2")
    written = [record("C", 7, 0, folder / "tmp"), record("W", 7, 0, b"2")]
    renamed = record("R", 0, 0, folder / "tmp", folder / "last")
    file_synced, folder_synced = record("S", 7, 0, folder / "tmp"), record("S", 1, 0, folder)
    assert after_cuts([*written, file_synced, renamed, folder_synced], folder) == {(new,)}
    assert after_cuts([*written, file_synced, renamed], folder) == {(old,), (new,), (old, new_file)}
    assert (("last", b""),) in after_cuts([*written, renamed, folder_synced], folder)  # without a sync of the file


def test_records_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(HEAD.pack(b"W", 5, 100, 3, 0) + b"abc" + HEAD.pack(b"L", 0, 0, 2, 4) + b"/a" + b"/b/c")
    write, link = read_records(path)
    assert (write.kind, write.inode, write.number, write.first) == ("W", 5, 100, b"abc")
    assert (link.kind, link.path, link.new_path) == ("L", Path("/a"), Path("/b/c"))
