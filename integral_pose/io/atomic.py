"""Files that are there whole or not at all."""

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}  # said by FUSE, SMB and some others
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], *, needs_bytes: int = 0, before_replacing: Callable[[Path], None] | None = None
) -> Iterator[IO[bytes]]:
    """A binary file that takes its place at `path` when the block ends, on disk before it does.

    Whoever reads `path` sees the old content or the new one, never a part; after an exception the old content
    stays and nothing else is left. Missing folders are made. A link at `path` is replaced, not followed.
    Room for `needs_bytes` is taken first: OSError says how much is missing. `before_replacing` gets the new
    file's path when it is on disk under another name, and can refuse it by raising.
    """
    path = Path(path)
    make_folder(path.parent)
    # In the same folder, since a rename is atomic only within one file system. Not `tempfile`, whose files
    # nobody but the owner may read.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            if needs_bytes:
                _take_room(file, needs_bytes, path)
            yield file
            if needs_bytes:
                file.truncate()  # what of the room was not needed
            file.flush()
            os.fsync(file.fileno())
        if before_replacing:
            before_replacing(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """`text` as UTF-8 with its line ends as they are, by way of `atomic_write`."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, so that a power cut does not take it with all in it."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        sync_folder(made.parent)


def remove_leftovers(folder: Path, names: Collection[str]) -> list[str]:
    """Delete what a kill in the middle of an `atomic_write` to one of `names` left in `folder`; returns file names.

    Only for whoever knows that nobody is writing these files just now.
    """
    leftover = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.tmp")
    removed = []
    for entry in sorted(folder.iterdir()):
        match = leftover.fullmatch(entry.name)
        if match and match["name"] in names and entry.is_file():
            entry.unlink()
            removed.append(entry.name)
    return removed


@contextmanager
def held_alone(path: Path) -> Iterator[bool]:
    """Whether no other process holds the file `path`, which is made for that and goes afterwards.

    A file system without locks holds nobody back.
    """
    with suppress(FileExistsError):  # of a file in its place the next line tells
        path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_alone = path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())  # not just taken along
        except OSError as error:
            is_alone = error.errno not in (errno.EACCES, errno.EAGAIN)
        try:
            yield is_alone
        finally:
            if is_alone:
                path.unlink(missing_ok=True)


def sync_file_system(folder: Path) -> None:
    """Bring all that was written to the file system of `folder` to disk, at once: one sync a picture takes long."""
    if sys.platform != "linux":
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def _take_room(file: IO[bytes], needs_bytes: int, path: Path) -> None:
    """Reserve the bytes on disk. Raises OSError with how many there are; nothing has been written then."""
    free_bytes = shutil.disk_usage(path.parent).free
    missing = needs_bytes - free_bytes
    number = errno.ENOSPC if missing > 0 else None
    if number is None and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, needs_bytes)
        except OSError as error:
            number = error.errno
    if number in NO_ROOM:  # others: the file system cannot reserve, and writing will tell
        lack = f"{missing:,} bytes are missing" if missing > 0 else "a quota or limit stands in the way"
        text = f"{os.strerror(number)}: {needs_bytes:,} bytes are needed and {free_bytes:,} free; {lack}"
        raise OSError(number, text, str(path))


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, where the file system does that for folders."""
    with suppress(PermissionError):  # a folder that may be written and not read
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in NO_FOLDER_SYNC:
                raise
        finally:
            os.close(descriptor)
