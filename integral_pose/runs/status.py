"""status.json: how a run stands, for scripts. torchrun turns every exit status into 1; this file keeps it."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from integral_pose.errors import (
    CheckpointError,
    FolderLostError,
    IntegralPoseError,
    Interrupted,
    OutputError,
    ProcessLostError,
)
from integral_pose.io.atomic import write_text_atomic
from integral_pose.runs.stop import Signalled

NAME = "status.json"
BLOCK_BYTES = 4096  # which a file has of a disk at least
LOCK_TRIES = 20
INTERRUPTED = 130  # the status that shells give to Ctrl-C


class RunStatus:
    """Writes status.json: state (running, done, stopped or failed), exit code, message, step, time, process.

    The first process writes; another one only why it failed, of which the first knows no more than that it is lost.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.path, self.rank = folder / NAME, rank
        self.is_ours = False  # until this run holds the folder: the status of another one stays
        self._started = _now()
        self._steps: dict[str, int | None] = {"step": None, "num_steps": None}

    def running(self, step: int, num_steps: int) -> None:
        """`step` of the steps are done. The fault of another process, which may be quicker, stays."""
        self._steps = {"step": step, "num_steps": num_steps}
        if self.rank == 0:
            self._write("running", None, "", over_another=False)

    def ended(self, error: BaseException | None) -> None:
        """The run ended, by `error` if there is one."""
        if isinstance(error, FolderLostError) or (isinstance(error, CheckpointError) and self._steps["step"] is None):
            return  # the folder is another run's
        if error is None or isinstance(error, Interrupted | Signalled):
            if self.rank == 0:
                self._write("stopped" if error else "done", error.exit_code if error else 0, str(error or ""))
        elif not isinstance(error, ProcessLostError):
            self._write("failed", _exit_code(error), str(error) or type(error).__name__)
        else:  # the process that is lost may be the first
            self._write("failed", error.exit_code, str(error), over_another=False)

    @contextmanager
    def faults_written_at_once(self) -> Iterator[None]:
        """Inside, an error is written before the other processes notice that this one is leaving."""
        try:
            yield
        except IntegralPoseError as error:
            self.ended(error)
            raise

    def _write(self, state: str, exit_code: int | None, message: str, *, over_another: bool = True) -> None:
        if not self.is_ours or not self.path.parent.is_dir():  # nothing is made for a run that never began
            return
        with _one_at_a_time(self.path.parent):
            if over_another or not self._another_has_ended():
                self._write_content(state, exit_code, message)

    def _another_has_ended(self) -> bool:
        with suppress(CheckpointError):
            found = read_status(self.path.parent)
            return found["state"] != "running" and found["time_utc"] >= self._started
        return False

    def _write_content(self, state: str, exit_code: int | None, message: str) -> None:
        content = {
            "state": state, "exit_code": exit_code, "message": message, **self._steps, "time_utc": _now(),
            "started_utc": self._started, "pid": os.getpid(), "host": socket.gethostname(), "rank": self.rank,
        }  # fmt: skip
        _write_even_on_a_full_disk(self.path, content)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keeps the other processes of this machine from writing a status, where folders can be locked.

    Goes on after a second: a signal's handler may ask for what this very thread holds.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(1 / LOCK_TRIES)
                continue
            except OSError:  # nothing to wait for
                pass
            break
        yield
    finally:
        os.close(descriptor)


def _write_even_on_a_full_disk(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all; where there is no room for a second file, into the block that the old one has."""
    with suppress(OSError):  # a full disk has a message of its own, which must not be lost over this one
        try:
            write_text_atomic(path, _as_text(content))
        except OSError:
            while len(text := _as_text(content).encode()) > BLOCK_BYTES:  # the names of a whole batch, say
                message = content["message"]
                content = {**content, "message": f"{message[: len(message) // 2]} ..."}
            with path.open("r+b") as file:
                file.write(text)
                file.truncate()


def _as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


@contextmanager
def run_status(folder: Path, rank: int) -> Iterator[RunStatus]:
    """Writes how the block ended."""
    status = RunStatus(folder, rank)
    try:
        yield status
    except BaseException as error:
        status.ended(error)
        raise
    status.ended(None)


def read_status(folder: Path) -> dict[str, Any]:
    """The content of status.json. Raises CheckpointError where there is none or it cannot be read."""
    path = folder / NAME
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is none; the run was never begun, or ended before its set-up") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict) or not {"state", "exit_code", "message", "time_utc"} <= content.keys():
        raise CheckpointError(f"{path}: is not a status of this program")
    return content


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, OSError):  # of the machine, as the command line has it
        return OutputError.exit_code
    return error.exit_code if isinstance(error, IntegralPoseError) else 1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
