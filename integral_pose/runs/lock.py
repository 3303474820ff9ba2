"""One run in one folder at a time."""

import errno
import fcntl
import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from integral_pose.errors import FolderLostError, OutputError
from integral_pose.io.atomic import make_folder
from integral_pose.io.notices import notify

NAME = "run.lock"


class FolderLock:
    """Held from `acquire` to `release` or to the end of this process, however it ends.

    A record lock (lockf), not flock: that one would live on in workers that outlast a killed run. The system drops
    a record lock as soon as the process closes *any* handle of the file, so nothing else here opens it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._file: IO[str] | None = None
        self._holder = f"pid {os.getpid()} on {platform.node()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n"

    def acquire(self) -> None:
        """Make the folder where it is missing, and take it.

        Raises OutputError, at once, where it cannot be written or another run holds it.
        """
        folder = self.path.parent
        try:
            make_folder(folder)
            # Not what a link leads to: the file is emptied.
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            file = os.fdopen(descriptor, "a+", encoding="utf-8")
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OutputError(f"{self.path}: is a link, expected a file of this folder; remove it") from None
            raise _unwritable(folder, error) from None
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read(500).strip()
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.close()
                raise OutputError(
                    f"{folder}: another run is training here ({holder or 'it does not say which'}). Wait for it, stop "
                    "it, or choose another folder with run_dir=PATH"
                ) from None
            notify(f"{folder}: cannot be locked ({error.strerror}), so nothing keeps a second run out of it")
        if not self._is_at_its_place(file):  # its holder has just gone and taken it along
            file.close()
            self.acquire()
            return
        try:
            _write_holder(file, self._holder)
        except OSError as error:
            with suppress(OSError):  # what could not be written cannot be flushed either
                file.close()
            raise _unwritable(folder, error) from None
        self._file = file

    def release(self, *, keep: bool = True) -> None:
        """Let the next run in. Without `keep` the file goes too, and the folder if nothing else is in it."""
        if self._file is None:
            return
        if not keep:
            with suppress(OSError):
                self.path.unlink()
                self.path.parent.rmdir()
        self._file.close()
        self._file = None

    def require_held(self) -> None:
        """Raise FolderLostError where the folder was moved away, run.lock deleted, or taken by another machine.

        The last can be where locks are not shared between machines; what is written in the file is.
        """
        if self._file is None:
            return
        try:
            holder = os.pread(self._file.fileno(), 500, 0).decode(errors="replace")
            if self._is_at_its_place(self._file) and holder == self._holder:
                return
        except OSError:  # the disk is away just now, of which saving will tell
            return
        now = f"now holds it: {holder.strip()}" if holder != self._holder else "its folder was moved or it was deleted"
        raise FolderLostError(
            f"{self.path}: is no longer this run's: {now}. Nothing more is written here; the newest checkpoint is the "
            "last one that was saved. The same command continues from it"
        )

    def _is_at_its_place(self, file: IO[str]) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.lstat())
        except FileNotFoundError:
            return False


def _write_holder(file: IO[str], holder: str) -> None:
    file.truncate(0)
    file.write(holder)
    file.flush()
    os.fsync(file.fileno())


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{folder}: cannot be written: {error.strerror}. Mend that, or choose another folder with run_dir=PATH"
    )
