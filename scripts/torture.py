"""Kills, power cuts, signals, full disks and other faults for some minutes. `scripts/torture.sh` calls it.

    scripts/torture.sh 20

At least as many of each kind as PARTS says, however long that takes, then more kills, cuts and signals until the time
is over. Exit status 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fork_server import ForkServer
from tests.torture import damage, full_disks, kills, lost_output, power_cuts, preparation, scoring_faults, suspension
from tests.torture.counts import table
from tests.torture.recorded_writes import build_recorder
from tests.torture.trials import Trials

# Part -> what it does, and how often at least.
PARTS: dict[str, tuple[Callable[[Trials], None], int]] = {
    "hostile": (damage.try_hostile_files, 1),
    "flips": (damage.flip_a_bit, 300),
    "kills": (kills.kill_a_run, 17),  # of six kills
    "cuts": (power_cuts.cut_the_power, 8),  # of five cuts
    "signals": (kills.signal_a_run, 21),
    "disks": (full_disks.fill_the_disk, 3),
    "output": (lost_output.lose_output, 2),
    "scoring": (scoring_faults.fail_in_scoring_and_pictures, 10),
    "stops": (suspension.suspend, 3),
    "data": (damage.change_data, 2),
    "prepare": (preparation.cut_while_preparing, 2),  # of ten cuts in each layout
}
MORE = ("kills", "cuts", "signals")


def main() -> None:
    """All parts, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, help="at least so long")
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table, as Markdown beside it too")
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder, ForkServer(build_recorder(Path(folder))) as server:
        trials = Trials(server, Path(folder), options.seed)
        for part in options.only:
            torment(trials, part, PARTS[part][1])
        for part in itertools.cycle([part for part in MORE if part in options.only]):
            if time.monotonic() - start > options.minutes * 60:
                break
            torment(trials, part, 1)
        rows = trials.rows()
    text = f"{table(rows)}\n\nSeed {options.seed}, {(time.monotonic() - start) / 60:.1f} minutes."
    print(text)
    if options.json:
        content = {"rows": rows, "seed": options.seed}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        options.json.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    sys.exit(any(row["verdict"] == "FAILED" for row in rows))


def torment(trials: Trials, part: str, times: int) -> None:
    """Do a part so often."""
    for number in range(times):
        print(f"{part} {number + 1} of {times}    ", end="\r", file=sys.stderr, flush=True)
        PARTS[part][0](trials)


if __name__ == "__main__":
    main()
