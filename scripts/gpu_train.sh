#!/usr/bin/env bash
# Renders synthetic-1 on all cores, trains one approach with ResNet-50 at 256 px and 64^3 cells, scores it on the test
# people, prints one line and writes gpu_train.json: all within MINUTES, rendering included where data/ has it not.
#
#   scripts/gpu_train.sh configs/benchmark/integral.yaml 9
#   scripts/gpu_train.sh configs/benchmark/regression.yaml 9 --out regression.json
#   scripts/gpu_train.sh configs/benchmark/integral.yaml 3 --small --device cpu      to try it without a GPU
#
# Needs torch and torchvision. On a machine without a network bring the rest along, installed elsewhere for its Python:
# pip install --target DIR pydantic pyyaml h5py tqdm pillow simplejpeg tensorboard matplotlib ; PACKAGES=DIR scripts/gpu_train.sh ...
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; fi
fi
export PYTHONPATH="$PWD${PACKAGES:+:$PACKAGES}${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" -m benchmarks gpu_train "$@"
