#!/usr/bin/env bash
# Checks and measures a GPU in under 8 minutes: kernels against the reference, 200 training steps, bench loss, step, data.
# One table at the end; the figures as JSON in gpu_check.json, or where --out says.
#
# Needs torch and numpy; a part that lacks another package is named and not run. On a machine without a network bring
# them along, installed elsewhere for its Python:  pip install --target DIR pydantic pyyaml h5py tqdm pillow simplejpeg
# and  PACKAGES=DIR scripts/gpu_check.sh
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; fi
fi
export PYTHONPATH="$PWD${PACKAGES:+:$PACKAGES}${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" -m integral_pose.bench.gpu_check "$@"
