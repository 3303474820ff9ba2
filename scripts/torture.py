"""Kills, signals, damages and attacks for some minutes, and prints what held. `scripts/torture.sh` calls it.

    scripts/torture.sh 20

At least 60 kills, 300 flipped bits, 20 signals and every hostile file once, however long that takes, then more kills
and signals until the time is over. Exit status 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fork_server import ForkServer
from tests.torture import Torture, table

LEAST_KILLS, LEAST_FLIPS, LEAST_SIGNALS = 60, 300, 20


def main() -> None:
    """All parts, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, help="at least so long")
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table")
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder, ForkServer() as server:
        trials = Torture(server, Path(folder), options.seed)
        trials.hostile()
        for _ in range(LEAST_FLIPS):
            trials.flip_a_bit()
        while (
            trials.valid.done < LEAST_KILLS
            or trials.stopped.done < LEAST_SIGNALS
            or time.monotonic() - start < options.minutes * 60
        ):
            if trials.valid.done <= 3 * trials.stopped.done:
                trials.kill_a_run()
            else:
                trials.signal_a_run()
            print(f"{trials.valid.done} kills, {trials.stopped.done} signals", end="\r", file=sys.stderr, flush=True)
        rows = trials.rows()
    print(table(rows))
    print(f"{trials.kills_while_saving} of the kills fell into a save; {(time.monotonic() - start) / 60:.1f} minutes")
    if options.json:
        content = {"rows": rows, "kills_while_saving": trials.kills_while_saving, "seed": options.seed}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(row["verdict"] != "held" for row in rows))


if __name__ == "__main__":
    main()
