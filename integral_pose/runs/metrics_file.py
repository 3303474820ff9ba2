"""metrics.jsonl: one JSON object a line, for each logging step and each score."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from integral_pose.io.atomic import write_text_atomic


class MetricsFile:
    """Appends rows. Those that cannot be written are kept and written with the next one."""

    def __init__(self, path: Path) -> None:
        self._path, self._unwritten = path, ""

    def drop_after(self, step: int) -> None:
        """Remove the rows beyond `step`, which an earlier start of the run has written."""
        kept = [row for row in read_metrics(self._path) if row["step"] <= step]
        write_text_atomic(self._path, "".join(json.dumps(row) + "\n" for row in kept))

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep a row for the next `write`."""
        self._unwritten += json.dumps(row) + "\n"

    def write(self) -> None:
        """Append what was added, as a whole or not at all; raises OSError."""
        end = self._path.stat().st_size if self._path.exists() else 0
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(self._unwritten)
        except OSError:
            with suppress(OSError):
                os.truncate(self._path, end)  # half a row would hide those behind it
            raise
        self._unwritten = ""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
