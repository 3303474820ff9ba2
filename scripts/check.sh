#!/usr/bin/env bash
# Lint, types and tests, on all cores: the one command that a change must pass. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"

ruff check .
ruff format --check .
mypy
bash -n run_train.sh run_test.sh scripts/*.sh scripts/*.sbatch .ci/run
exec python -m pytest -n auto "$@"
