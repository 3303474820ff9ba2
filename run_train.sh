#!/usr/bin/env bash
# Trains an experiment and scores it on the test set; run again, it continues where it stopped.
#
#   ./run_train.sh                                          the demo: renders its own data, seven minutes on two cores
#   ./run_train.sh configs/integral_heatmap.yaml data.root=/data/h36m
#
# On several GPUs one process each is started. Exit status 75: stopped by a signal, all saved; start it again.
# Exit status 6, a data worker or a process was lost: it is started again here, at most three times, and continues.
set -euo pipefail
cd "$(dirname "$0")"
scripts/setup.sh
is_found="$(command -v integral-pose || true)"
export PATH="$PWD/.venv/bin:$PATH"

is_demo=
if [ $# -eq 0 ]; then
    is_demo=1
    set -- configs/demo.yaml
    data="$(integral-pose config --get data.root "$@")"
    [ -d "$data" ] || integral-pose prepare synthetic --out "$data" --train 12000 --valid 1000 --seed 1
fi

run="$(integral-pose config --get run_dir "$@")"
processes="$(integral-pose processes "$@")"

lost=6
most_restarts=3
source scripts/passing_signals_on.sh

train() {
    if [ "${WORLD_SIZE:-1}" = 1 ] && [ "$processes" -gt 1 ]; then
        export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120 # seconds to finish the step and save
        # torchrun makes every exit status 1; the run's own is in its folder. Its --max-restarts would also start again
        # what was stopped by a time limit or cannot work, so the loop below does it.
        passing_signals_on torchrun --standalone --nproc-per-node "$processes" \
            --signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2,SIGXCPU -m integral_pose train "$@" ||
            { integral-pose status "$run" && return 1 || return $?; }
    else
        passing_signals_on integral-pose train "$@"
    fi
}

restarts=0
until train "$@"; do
    status=$?
    if [ "$status" != "$lost" ] || [ -n "$stopped" ] || [ "$restarts" = "$most_restarts" ]; then
        exit "$status"
    fi
    restarts=$((restarts + 1))
    echo "run_train.sh: a worker or process was lost; continuing from the last checkpoint," \
        "restart $restarts of $most_restarts" >&2
done
integral-pose test "$run"
[ -n "$is_found" ] || echo "For integral-pose in your own shell: source $PWD/.venv/bin/activate" >&2
if [ -n "$is_demo" ] && [ -n "${INTEGRAL_POSE_SAMPLES:-}" ]; then
    python -m benchmarks real_pictures "$run"
fi
