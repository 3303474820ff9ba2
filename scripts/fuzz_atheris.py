"""Fuzzes every parser by coverage for some minutes: what `scripts/fuzz.py` does blindly, libFuzzer steers by branches.

    python -m pip install --target build/atheris --no-deps atheris
    PYTHONPATH=build/atheris .venv/bin/python scripts/fuzz_atheris.py --seconds 600

Exit status 1 if a parser let an error through that is not one of ours, took longer than ten seconds for a file, or
more than 2 GB of memory. The file that did it is kept in build/fuzz.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
KEPT = REPOSITORY / "build/fuzz"
INSTRUMENTED = ["integral_pose", "yaml", "json", "csv", "zipfile", "gzip", "pickle"]
LIMITS = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1"]


def main() -> None:
    """All parsers in turn, each in a process of its own, since libFuzzer ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="for all together (%(default)s)")
    parser.add_argument("--only", metavar="NAME", help="one parser")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.exit("atheris is not installed; see the head of this file. Without it: scripts/fuzz.py")
    sys.path.insert(0, str(REPOSITORY))
    if options.inside:
        _fuzz(options.only, options.seconds)
        return
    names = [options.only] if options.only else list(importlib.import_module("tests.fuzz_targets").TARGETS)
    failed = [name for name in names if not _holds(name, options.seconds / len(names))]
    print(f"let something through: {', '.join(failed)}" if failed else f"all {len(names)} parsers held")
    sys.exit(bool(failed))


def _holds(name: str, seconds: float) -> bool:
    KEPT.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--inside", "--only", name, "--seconds", str(seconds)]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:  # the process cannot tidy up after itself
        environment = {**os.environ, "TMPDIR": folder, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    runs = re.search(r"stat::number_of_executed_units: +(\d+)", said)
    covered = re.findall(r" cov: (\d+)", said)
    held = done.returncode == 0 and runs is not None
    print(f"{name:12} {'held' if held else 'LET THROUGH':12} {int(runs[1]) if runs else 0:10,} files, "
          f"{covered[-1] if covered else '0'} branches", flush=True)  # fmt: skip
    if not held:
        print(said[-6000:], file=sys.stderr)
    return held


def _fuzz(name: str, seconds: float) -> None:
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED):
        targets = importlib.import_module("tests.fuzz_targets")
    corpus = Path(tempfile.mkdtemp())
    (corpus / "seed").write_bytes(targets.TARGETS[name].seed())
    prefix = f"-artifact_prefix={KEPT}/{name.replace(' ', '_')}-"
    arguments = [sys.argv[0], f"-max_total_time={max(1, round(seconds))}", *LIMITS, prefix, str(corpus)]
    atheris.Setup(arguments, lambda content: targets.refuses_or_reads(name, content))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
