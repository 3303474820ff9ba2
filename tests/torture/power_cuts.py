"""Power cuts: what of a run's writes was not synced is dropped or torn, and the run continues from what is left.

Every run is recorded to its end. One of its operations is then taken for the last one before the cut, and the next run
begins with what a disk may hold after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from integral_pose.runs.metrics_file import read_metrics
from tests.torture.disk import Disk
from tests.torture.recorded_writes import Record, read_records, recording
from tests.torture.trials import Trials, step_of

WHOLE = "power cut: the newest checkpoint or the one before is whole, and none that was saved is lost"
EQUAL = "power cut: the run continues to the weights and the state of an uninterrupted one, bit for bit"
ROWS = "power cut: the rows up to the checkpoint are all there"
EXACT = "power cut: all operations repeated give just the files that are there"


def cut_the_power(trials: Trials, cuts: int = 5) -> None:
    """A run through some cuts, to its end after each."""
    if not trials.server.records_writes:
        trials.count(WHOLE).untried = "recording what a process writes needs Linux and a C compiler"
        return
    place = trials.new_run("power")
    place.mkdir()
    for _ in range(cuts):
        after = trials.new_run("power")
        _cut_once(trials, place, after)
        trials.tidy(place)
        place = after
    trials.continues_to_the_same(EQUAL, place / "run", said=place.with_suffix(".said"))
    trials.tidy(place)


def _cut_once(trials: Trials, place: Path, after: Path) -> None:
    """Run in `place` to the end, and write into `after` what a cut on the way would have left."""
    disk, recorded = Disk(place), place.with_suffix(".records")
    process = trials.start(place / "run", trials.how_to_save(), environment=recording(recorded, place),
                           said=place.with_suffix(".said"))  # fmt: skip
    ended = trials.ends(process, [0], place.name)
    trials.compare(EQUAL, place / "run", "" if ended else f"status {process.exit_code}: {process.said[-600:]}")
    records = list(read_records(recorded))
    at_end = trials.random.random() < 0.1
    cut = len(records) if at_end else trials.random.randrange(len(records))
    told = cut if at_end else _last_save_told(records[:cut])
    disk.do(records[:told])
    saved = _step_on(disk, place / "run/last.pt")
    disk.do(records[told:cut])
    disk.write_after_a_cut(after, trials.random)
    found = max(step_of(after / "run" / name) for name in ("last.pt", "previous.pt"))
    trials.count(WHOLE).check(found >= saved, f"{after.name}: step {saved} was saved, {found} is found")
    rows, expected = (_training_steps(run, found) for run in (after / "run", trials.folder / "whole"))
    trials.count(ROWS).check(rows == expected, f"{after.name}: after step {found} those of {rows}, not {expected}")
    disk.do(records[cut:])
    there = {p.relative_to(place): None if p.is_dir() else p.read_bytes() for p in place.rglob("*")}
    trials.count(EXACT).check(disk.content() == there, f"{place.name}: {sorted(there)}")
    recorded.unlink()


def _last_save_told(records: Sequence[Record]) -> int:
    """Up to where the saves are that the run takes for done: the next one begins there."""
    begun = [at for at, record in enumerate(records) if record.kind == "C" and record.path.name.startswith(".last.pt.")]
    return begun[-1] if begun else 0


def _training_steps(run: Path, until: int) -> list[int]:
    rows = read_metrics(run / "metrics.jsonl")
    return [row["step"] for row in rows if row["group"] == "train" and row["step"] <= until]


def _step_on(disk: Disk, path: Path) -> int:
    content = disk.content().get(path.relative_to(disk.folder))
    if content is None:
        return 0
    copied = disk.folder.with_suffix(".pt")
    copied.write_bytes(content)
    step = step_of(copied)
    copied.unlink()
    return step
