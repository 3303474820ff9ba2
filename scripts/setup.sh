#!/usr/bin/env bash
# Creates .venv with the exact packages of requirements.lock and this package in it.
# Safe to run as often as you like: it does nothing when nothing has changed.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON="${PYTHON:-python3}"
STAMP=.venv/.setup-stamp

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "setup: needs Python 3.11 or newer; '$PYTHON' is $("$PYTHON" --version 2>&1 || true)." >&2
    echo "setup: name another one with PYTHON=/path/to/python3.12 $0" >&2
    exit 2
fi

wanted="$(cat requirements.lock pyproject.toml scripts/setup.sh | sha256sum | cut -d' ' -f1) $PWD"
if [ -x .venv/bin/integral-pose ] && [ "$(cat "$STAMP" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi

echo "setup: installing into $PWD/.venv (about 5 GB, most of it PyTorch with CUDA) ..."
rm -f "$STAMP"
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
if command -v uv >/dev/null 2>&1; then
    UV=uv
else
    [ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
    UV=.venv/bin/uv
fi
export VIRTUAL_ENV="$PWD/.venv"
# The lock is complete and was resolved with one OpenCV wheel left out, so nothing is resolved again here.
"$UV" pip install --quiet --compile-bytecode --no-deps --require-hashes --requirement requirements.lock
"$UV" pip install --quiet --no-deps --editable .
echo "$wanted" > "$STAMP"
echo "setup: done."
