#!/usr/bin/env bash
# The approaches on one benchmark: the same time each, several seeds, one table; run again, it continues.
#
#   scripts/ablation.sh --small                       synthetic-1-small at 64 px, for CPUs: 27 runs of 2 core-minutes
#   scripts/ablation.sh --small --jobs 2              two runs at a time, one thread each
#   scripts/ablation.sh --minutes 60                  synthetic-1 at 256 px with ResNet-50, for a GPU
#   scripts/ablation.sh --minutes 600 --data /data/h36m --name human36m
#
# Ends in docs/results/ablation-NAME.json and writes docs/results.md anew. More: python -m benchmarks ablation --help.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
python -m benchmarks ablation "$@"
python -m benchmarks results --write docs/results.md
