"""metrics.jsonl: one JSON object a line, for each logging step and each score."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.notices import notify


class MetricsFile:
    """Appends rows. Those that cannot be written are kept and written with the next one."""

    def __init__(self, path: Path) -> None:
        self._path, self._unwritten = path, ""

    def drop_after(self, step: int) -> None:
        """Remove the rows beyond `step`, which an earlier start wrote; lines that are no rows go to *.damaged."""
        rows, damaged = _read(self._path)
        if damaged:
            aside = self._path.with_name(f"{self._path.name}.damaged")
            with aside.open("ab") as file:
                file.writelines(line + b"\n" for line in damaged)
            notify(f"{self._path}: {len(damaged)} damaged lines were moved to {aside.name}; the others stay")
        kept = [row for row in rows if row["step"] <= step]
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

    def sync(self) -> None:
        """Have what was written survive a power cut, if that can be had."""
        with suppress(OSError), self._path.open("rb") as file:
            os.fsync(file.fileno())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl; lines that a kill or a power cut has damaged are left out."""
    return _read(path)[0]


def _read(path: Path) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The rows, and the lines that are none."""
    rows, damaged = [], []
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # also bytes that are no UTF-8
            row = None
        if isinstance(row, dict) and type(row.get("step")) is int:
            rows.append(row)
        elif line:
            damaged.append(line)
    return rows, damaged
