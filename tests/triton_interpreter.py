"""Runs a file's tests of Triton kernels in Triton's interpreter, on a machine without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # must be set before triton is imported
interpreted = pytest.mark.skipif(not INTERPRETED, reason="run by test_in_the_interpreter")


def run_interpreted_tests(file: str) -> None:
    """Run the tests of `file` with 'interpreted' in their names in a process of their own; fail with what it says."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", file, "-k", "interpreted"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout
