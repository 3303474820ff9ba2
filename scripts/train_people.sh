#!/usr/bin/env bash
# Renders people, trains on them, scores, and writes a model file to pass on: runs/people/people.pt. Run again, it goes on
# where it stopped and leaves out what is done. All of it has the lowest priority.
#
#   scripts/train_people.sh                          the preset people-3, one cycle of configs/people.yaml
#   scripts/train_people.sh --cycles 2               then a second one, from the best weights of the first
#   scripts/train_people.sh --minutes 9              ends by then with status 75: start it again
#   scripts/train_people.sh --render "--people anny --cameras wide --train 2000 --valid 200" data.root=data/few
#   scripts/train_people.sh trainer.batch_size=64 run_dir=runs/others
#
# Cycle K is a run of its own with its own learning-rate curve, in cycleK of run_dir; one that is done stays as it is,
# whatever is asked of later ones. --render are options of `integral-pose prepare synthetic`, for a data.root that is not
# there yet. With INTEGRAL_POSE_SAMPLES real photographs are scored too (docs/real_pictures.md). At its end it says how
# many images were seen, the hours of processor cores, which machine.
set -euo pipefail
cd "$(dirname "$0")/.."
renice -n 19 $$ > /dev/null

fail() {
    echo "train_people.sh: $*" >&2
    exit 2
}

cycles=1 minutes= render="--preset people-3"
while [[ "${1:-}" == --* ]]; do
    [ $# -ge 2 ] || fail "$1 needs a value; see the head of the file"
    case "$1" in
        --cycles) [[ "$2" =~ ^[1-9][0-9]?$ ]] || fail "--cycles is $2, expected a number from 1 to 99"; cycles="$2" ;;
        --minutes) [[ "$2" =~ ^[1-9][0-9]{0,4}$ ]] && [ "$2" -ge 3 ] || fail "--minutes is $2, expected 3 or more"
            minutes="$2" ;;
        --render) render="$2" ;;
        *) fail "unknown option $1; known: --cycles, --minutes, --render" ;;
    esac
    shift 2
done
set -- configs/people.yaml "$@"

scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
source scripts/passing_signals_on.sh
data="$(integral-pose config --get data.root "$@")"
out="$(integral-pose config --get run_dir "$@")"
mkdir -p "$out"

for_scoring=60 worth_a_start=60 # seconds

# To render or to train for.
seconds_left() {
    echo $((minutes * 60 - SECONDS - for_scoring))
}

end_when_over() {
    [ -z "$minutes" ] || [ "$(seconds_left)" -ge "$worth_a_start" ] || {
        echo "train_people.sh: $minutes minutes are over; start it again, and it goes on" >&2
        exit 75
    }
}

# Runs a command and adds a line to FILE: processor seconds of it and of its children, the system's behind the user's.
counted() {
    local file="$1" TIMEFORMAT="%U %S"
    shift
    { time "$@" 2>&3; } 3>&2 2>> "$file"
}

core_hours() {
    cat "$@" 2> /dev/null | awk '{ gsub(",", "."); seconds += $1 + $2 } END { printf "%.2f", seconds / 3600 }'
}

render_people() {
    local limit=()
    [ -z "$minutes" ] || limit=(timeout --foreground "$(seconds_left)")
    # shellcheck disable=SC2086  # options, one a word
    counted "$out/rendering.core_seconds" \
        passing_signals_on ${limit[@]+"${limit[@]}"} integral-pose prepare synthetic --out "$data" $render
}

train_cycle() {
    local cycle="$1"
    shift
    set -- "$@" "run_dir=$out/cycle$cycle"
    [ "$cycle" = 1 ] || set -- "$@" "model.init=$out/cycle$((cycle - 1))" model.pretrained=null
    [ -z "$minutes" ] || set -- "$@" "trainer.max_time=$(seconds_left)s"
    counted "$out/cycle$cycle.core_seconds" passing_signals_on ./run_train.sh "$@"
}

is_done() {
    grep -qs '"state": "done"' "$1/status.json" && [ -e "$1/scores.json" ]
}

if [ ! -d "$data" ]; then
    end_when_over
    status=0
    render_people || status=$?
    [ "$status" != 124 ] || end_when_over # timeout's
    [ "$status" = 0 ] || exit "$status"
fi
for ((cycle = 1; cycle <= cycles; cycle++)); do
    is_done "$out/cycle$cycle" || {
        end_when_over
        train_cycle "$cycle" "$@" || exit $?
    }
done

run="$out/cycle$cycles"
[ -z "${INTEGRAL_POSE_SAMPLES:-}" ] || python -m benchmarks real_pictures "$run"
integral-pose export "$run" --format model --licence MIT --out "$out/people.pt"
device="$(sed -n 's/^ *"device": "\(.*\)",$/\1/p' "$out"/cycle*/provenance.json | sort -u | paste -sd, -)"
cores="$(getconf _NPROCESSORS_ONLN) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2> /dev/null | head -n 1)"
echo "  core-hours: $(core_hours "$out/rendering.core_seconds") rendering," \
    "$(core_hours "$out"/cycle*.core_seconds) training and scoring" \
    "($cycles cycles); trained on $device; this machine: $cores, $(uname -sm)"
