#!/usr/bin/env bash
# Predicts the test set, writes predictions.csv and prints the MPJPE where there are labels.
#
#   ./run_test.sh                                           the newest run's best checkpoint
#   ./run_test.sh runs/integral_heatmap data.root=/data/h36m
#   ./run_test.sh runs/integral_heatmap/last.pt evaluation.flip=true
set -euo pipefail
cd "$(dirname "$0")"
scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
exec integral-pose test "$@"
