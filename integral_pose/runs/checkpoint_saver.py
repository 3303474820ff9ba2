"""Saving beside the training: copied at once, written in a thread, waited for where that is promised."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from integral_pose.errors import OutputError
from integral_pose.io.checkpoint_file import to_plain
from integral_pose.io.distributed import Processes
from integral_pose.io.notices import notify
from integral_pose.runs.background_writer import BackgroundWriter
from integral_pose.runs.checkpoint import save_with_predecessors


class CheckpointSaver:
    """Saves in the first process; the others only learn whether it could.

    `sync_rows` is called before: the rows up to a checkpoint must not be lost where it is not.
    """

    def __init__(
        self,
        folder: Path,
        processes: Processes,
        require_held: Callable[[], None],
        sync_rows: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder, self._processes = folder, processes
        self._require_held, self._sync_rows = require_held, sync_rows
        self._writer = BackgroundWriter()
        self._written_step: dict[Path, int] = {}

    def save(self, path: Path, content: dict[str, Any], *, keep_previous: int = 0) -> None:
        """Take a copy of `content` and write it soon. Raises FolderLostError where that would be another's folder."""
        if self._processes.is_first:
            self._require_held()
            copied = to_plain(content, copy=True)
            self._writer.submit(path, partial(self._write, path, copied, keep_previous))

    def _write(self, path: Path, content: dict[str, Any], keep_previous: int) -> None:
        """A second one of the same step, now with its score, takes the first one's place, not its predecessor's."""
        self._require_held()
        self._sync_rows()
        step = content["progress"]["step"]
        save_with_predecessors(path, content, 0 if self._written_step.get(path) == step else keep_previous)
        self._written_step[path] = step

    def wait(self) -> None:
        """Until the first process has written everything; raises OutputError in every process if it cannot."""
        failure: OutputError | None = None
        try:
            self._writer.finish()
        except OutputError as error:
            failure = error
        if any(self._processes.gather(failure is not None)):
            raise failure or OutputError(f"{self._folder}: the first process cannot write")

    @contextmanager
    def completed(self) -> Iterator[None]:
        """All is written when the block ends, as `wait` does it.

        After an error this process alone tries to, since the others may be gone; a second Ctrl-C waits for no disk.
        """
        try:
            yield
        except (KeyboardInterrupt, OutputError):
            raise
        except BaseException:
            try:
                self._writer.finish()
            except OutputError as unwritten:
                notify(str(unwritten))  # the error on its way must not be lost over this one
            raise
        self.wait()
