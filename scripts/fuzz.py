"""Feeds damaged files to every parser for some minutes: what the suite does with a small budget, with a large one.

    .venv/bin/python scripts/fuzz.py --seconds 300

Exit status 1 if a parser let an error through that is not one of ours, or took longer than ten seconds for a file.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fuzz_targets import TARGETS, refuses_or_reads
from tests.test_fuzz import CHANGES, damaged

LONGEST_S = 10.0
EXAMPLES_A_ROUND = 200


def main() -> None:
    """All parsers in turn, each with its share of the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="for all together (%(default)s)")
    options = parser.parse_args()
    failed = [name for name in TARGETS if not _holds(name, options.seconds / len(TARGETS))]
    print(f"let something through: {', '.join(failed)}" if failed else f"all {len(TARGETS)} parsers held")
    sys.exit(bool(failed))


def _holds(name: str, seconds: float) -> bool:
    content, files, slowest_s = TARGETS[name].seed(), 0, 0.0

    def parse(changes: list[tuple[str, int, int]]) -> None:
        nonlocal files, slowest_s
        start = time.perf_counter()
        refuses_or_reads(name, damaged(content, changes))
        files, slowest_s = files + 1, max(slowest_s, time.perf_counter() - start)

    end, round_number, fault = time.monotonic() + seconds, 0, ""
    while time.monotonic() < end and not fault:
        budget = settings(max_examples=EXAMPLES_A_ROUND, deadline=None, database=None, derandomize=False,
                          suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink])  # fmt: skip
        try:
            seed(round_number)(budget(given(changes=CHANGES)(parse)))()
        except Exception:
            fault = traceback.format_exc()
        round_number += 1
    verdict = "LET THROUGH" if fault else "TOO SLOW" if slowest_s > LONGEST_S else "held"
    print(f"{name:12} {verdict:12} {files:9,} files, slowest {slowest_s * 1e3:.0f} ms", flush=True)
    if fault:
        print(fault, file=sys.stderr)
    return verdict == "held"


if __name__ == "__main__":
    main()
