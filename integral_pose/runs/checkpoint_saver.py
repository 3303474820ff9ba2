"""Where the checkpoints of a run go: copied at once, written beside the training, waited for where that is promised."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from integral_pose.errors import OutputError
from integral_pose.io.distributed import Processes
from integral_pose.io.plain import to_plain
from integral_pose.runs.background_writer import BackgroundWriter
from integral_pose.runs.checkpoint import save_with_predecessors
from integral_pose.runs.folder import RunFolder


class CheckpointKeeper:
    """Saves in the first process; the others only learn whether it could."""

    def __init__(self, folder: RunFolder, processes: Processes) -> None:
        self._folder, self._processes = folder, processes
        self.writer = BackgroundWriter()

    def write(self, path: Path, content: dict[str, Any], *, keep_previous: int = 0) -> None:
        """Take a copy of `content` and write it soon."""
        if self._processes.is_first:
            copied = to_plain(content, copy=True)
            self.writer.submit(path, partial(save_with_predecessors, path, copied, keep_previous))

    def wait(self) -> None:
        """Until the first process has written everything; raises OutputError in every process if it cannot."""
        failure: OutputError | None = None
        try:
            self.writer.finish()
        except OutputError as error:
            failure = error
        if any(self._processes.gather(failure is not None)):
            raise failure or OutputError(f"{self._folder.path}: the first process cannot write")

    def write_what_waits(self) -> None:
        """As `wait` in this process alone, where another error is on its way and must not be lost over this one."""
        try:
            self.writer.finish()
        except OutputError as error:
            tqdm.write(str(error), file=sys.stderr)
