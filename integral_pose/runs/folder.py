"""The folder of a run: taken by one run at a time, and refused where it holds something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from integral_pose.errors import CheckpointError
from integral_pose.io.atomic import remove_leftovers
from integral_pose.io.notices import notify
from integral_pose.runs.checkpoint import previous_checkpoints
from integral_pose.runs.lock import NAME as LOCK_NAME
from integral_pose.runs.lock import FolderLock

# What training writes, and what others may have put beside it before the run had a checkpoint.
WRITTEN = {
    "last.pt", "previous.pt", "best.pt", "config.yaml", "provenance.json", "metrics.jsonl", "curves.png", "status.json"
}  # fmt: skip
ALSO_OURS = {LOCK_NAME, "pictures", "tensorboard"}
LOGS = {".log", ".out", ".err"}  # of the shell or the scheduler


class RunFolder:
    """Holds a folder inside a `with` block. In the other processes of a distributed run it holds and writes nothing.

    last.pt          where the run continues from; previous.pt is the one before
    best.pt          the weights with the best score so far
    config.yaml      the resolved configuration
    provenance.json  a list, one entry a start: command, time, git commit, versions, machine
    metrics.jsonl    one row a logging step or score
    pictures/        augmented.png, training images with their labels; inputs and predictions, a picture an epoch
    tensorboard/     the same scalars and pictures
    """

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path, self.writes = path, writes
        self.last, self.best, self.metrics = path / "last.pt", path / "best.pt", path / "metrics.jsonl"
        self.has_begun = False  # a run that never begins leaves no trace
        self._lock = FolderLock(path)
        self._failed: set[str] = set()

    def __enter__(self) -> RunFolder:
        """Take the folder for this run and clear what a killed one left half written.

        Raises OutputError where it cannot be written or another run holds it, CheckpointError where it holds
        something else than a run that can be continued.
        """
        if self.writes:
            self._lock.acquire()
            try:
                self._require_ours()
                if removed := remove_leftovers(self.path, WRITTEN):
                    notify(f"{self.path}: removed what a killed run left half written: {', '.join(removed)}")
            except BaseException:
                self._lock.release(keep=False)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release(keep=self.has_begun)

    def attempt(self, what: str, write: Callable[[], object]) -> None:
        """Write something that training does not need; only the first failure of a kind is reported."""
        try:
            self.require_held()
            write()
        except Exception as error:  # a picture may fail in more ways than a full disk
            if what not in self._failed:
                self._failed.add(what)
                notify(f"{self.path}: {what} cannot be written: {error}. Training goes on without it")

    def require_held(self) -> None:
        """Raise FolderLostError where it was moved away, or another run took it."""
        self._lock.require_held()

    def set_aside(self, damaged: Path) -> None:
        """Give a damaged file another name, so that the next one to be saved does not push out a whole one."""
        if self.writes:
            aside = damaged.with_name(f"{damaged.name}.damaged")
            self.attempt(aside.name, lambda: damaged.replace(aside))

    def _require_ours(self) -> None:
        if self.last.exists() or previous_checkpoints(self.last):
            return
        instead = "Choose another folder with run_dir=PATH, or move this one away"
        if self.best.exists():
            raise CheckpointError(f"{self.path}: holds best.pt, but no last.pt to continue from. {instead}")
        unknown = sorted(
            entry.name
            for entry in self.path.iterdir()
            if entry.name.removesuffix(".damaged") not in WRITTEN | ALSO_OURS
            and entry.suffix not in LOGS
            and not entry.name.startswith(".")
        )
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise CheckpointError(
                f"{self.path}: is in use for something else: it holds {', '.join(unknown[:5])}{more}, and no "
                f"checkpoint. {instead}"
            )
