#!/usr/bin/env bash
# Trains an experiment and scores it on the test set; run again, it continues where it stopped.
#
#   ./run_train.sh                                          the demo: renders its own data, six to ten minutes on two cores
#   ./run_train.sh configs/integral_heatmap.yaml data.root=/data/h36m
#
# On several GPUs one process each is started.
set -euo pipefail
cd "$(dirname "$0")"
scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"

if [ $# -eq 0 ]; then
    set -- configs/demo.yaml
    data="$(integral-pose config --get data.root "$@")"
    [ -d "$data" ] || integral-pose prepare synthetic --out "$data" --train 12000 --valid 1000 --seed 1
fi

run="$(integral-pose config --get run_dir "$@")"
gpus="$(nvidia-smi --list-gpus 2>/dev/null | wc -l || true)"
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
    gpus="$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | wc -l)"
fi
if [ "${WORLD_SIZE:-1}" = 1 ] && [ "$gpus" -gt 1 ]; then
    torchrun --standalone --nproc-per-node "$gpus" -m integral_pose train "$@"
else
    integral-pose train "$@"
fi
integral-pose test "$run"
