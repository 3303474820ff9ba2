"""Power cuts while a data set is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from integral_pose.datasets.conversion import LAYOUTS, convert
from tests.datasets.test_conversion import made, request
from tests.fork_server import Forked
from tests.torture.disk import Disk
from tests.torture.power_cuts import EXACT
from tests.torture.recorded_writes import read_records, recording
from tests.torture.trials import Trials

CUTS = 10
WHOLE = "power cut while a set is written: it is there whole or not at all"
SAME = "power cut while a set is written: the same command ends with the same bytes"
NAME = "öut"  # as in `request`


def cut_while_preparing(trials: Trials) -> None:
    """A set in each layout, cut some times and started again."""
    for layout in LAYOUTS if trials.server.records_writes else ():
        whole = _new_place(trials)
        _start(trials, whole, layout).wait()
        expected = _files(whole / NAME)
        place = _new_place(trials)
        for number in range(CUTS):
            after = trials.new_run("set")
            _cut_once(trials, place, after, layout, expected)
            place = after if number % 4 < 3 else _new_place(trials)


def _cut_once(trials: Trials, place: Path, after: Path, layout: str, expected: dict[str, bytes]) -> None:
    disk, recorded = Disk(place), place.with_suffix(".records")
    process = _start(trials, place, layout, environment=recording(recorded, place))
    ended, made_files = trials.ends(process, [0], place.name), _files(place / NAME)
    differing = [name for name in made_files.keys() | expected.keys() if made_files.get(name) != expected.get(name)]
    told = f"{place.name}, {layout}: status {process.exit_code}, {differing} {process.said[-500:]}"
    trials.count(SAME).check(ended and not differing, told)
    records = list(read_records(recorded)) if recorded.exists() else []
    cut = trials.random.randint(0, len(records))
    disk.do(records[:cut])
    disk.write_after_a_cut(after, trials.random)
    found = _files(after / NAME)
    disk.do(records[cut:])
    there = {p.relative_to(place): None if p.is_dir() else p.read_bytes() for p in place.rglob("*")}
    trials.count(EXACT).check(disk.content() == there, f"{place.name}: {sorted(disk.content().keys() ^ there.keys())}")
    trials.count(WHOLE).check(found in ({}, expected), f"{after.name}, {layout}: {sorted(found)}")


def _new_place(trials: Trials) -> Path:
    place = trials.new_run("set")
    place.mkdir()
    return place


def _start(trials: Trials, place: Path, layout: str, **options: Any) -> Forked:
    call = "tests.torture.preparation:prepare"
    return trials.server.start([str(place), layout], said=place.with_suffix(".said"), call=call, **options)


def prepare(arguments: list[str]) -> int:
    """Write a set of grey pictures into a folder in a layout."""
    folder, layout = Path(arguments[0]), arguments[1]
    convert(made(folder.parent), request(folder, layout=layout), {})
    return 0


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
