"""Measurements in a process of their own, since a setting of malloc holds for a whole process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

# glibc hands every large tensor back to the kernel and asks for it again, page by page: 70 % of the time of a
# loss. For timings it is told to keep memory, as every caching allocator does; for peaks, to give it back.
TIMING_ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
MEMORY_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


def in_own_process(module: str, argument: object, environment: dict[str, str]) -> Any:
    """What `python -m module ARGUMENT_AS_JSON` prints as its last line, which is JSON too."""
    command = [sys.executable, "-m", module, json.dumps(argument)]
    done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
