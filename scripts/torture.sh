#!/usr/bin/env bash
# Kills, signals, flipped bits and hostile files for MINUTES, and a table of what held (build/torture.json too).
#
#   scripts/torture.sh 20
#
# The suite does the same for some seconds (tests/test_torture.py).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
mkdir -p build
exec env OMP_NUM_THREADS=1 .venv/bin/python scripts/torture.py "${1:?minutes, for example 20}" --json build/torture.json "${@:2}"
