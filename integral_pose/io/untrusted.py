"""Files that others made, opened so that none reads another file, runs code or fills the memory.

A bomb is a small file that says it holds much. What is claimed is held against what is there before it is unpacked.
"""

import errno
import gzip
import io
import os
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from integral_pose.errors import DataError

LARGEST_GROWTH = 100  # poses and pictures of poses compress to a third; a bomb a thousandfold
ALWAYS_FINE_BYTES = 16_000_000
LONGEST_PATH_BYTES = 1000
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def require_no_bomb(claimed_bytes: int, stored_bytes: int, what: str) -> None:
    """Raise DataError where `what` says it is far larger unpacked than its bytes on disk can tell of."""
    if claimed_bytes > max(ALWAYS_FINE_BYTES, LARGEST_GROWTH * stored_bytes):
        raise DataError(
            f"{what} unpacks to {claimed_bytes / 1e6:,.0f} MB from {stored_bytes / 1e6:,.3f} MB, more than "
            f"{LARGEST_GROWTH} times its size, which is refused; write it without compression if that is meant"
        )


def _open_with_lock(path: Path) -> h5py.File:
    """Without one where the file system has none, as some network mounts: reading does not need it."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return h5py.File(path, "r", locking=False)


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """The file to read from. Whatever damage does inside the block becomes a DataError that names it.

    So does what only keeps it from being read just now: a lock, rights, the limit of open files.
    """
    try:
        with _open_with_lock(path) as file:
            yield file
    except DataError:
        raise
    except OSError as error:
        if error.errno == errno.EAGAIN:
            raise DataError(f"{path}: another program has it open for writing; close it there") from None
        if "already open for write" in str(error):
            raise DataError(
                f"{path}: another program has it open for writing, or was killed with it open; close it there, or "
                f"copy the file anew (h5clear --status {path} clears the mark)"
            ) from None
        if error.errno in (None, errno.EINVAL):  # of what was read, not of reading
            raise DataError(f"{path}: is damaged, cut short or no HDF5 file ({error})") from None
        raise DataError(f"{path}: cannot be read: {os.strerror(error.errno)}") from None
    except Exception as error:  # h5py raises KeyError, RuntimeError, ValueError and more on damaged bytes
        raise DataError(f"{path}: is damaged, cut short or no HDF5 file ({error})") from None


def find_dataset(file: h5py.File, key: str) -> h5py.Dataset | None:
    """The data set at `key`, 'images/bytes' for instance; None where it is missing or behind a link."""
    parts = key.split("/")
    for depth in range(1, len(parts) + 1):
        if not isinstance(file.get("/".join(parts[:depth]), getlink=True), h5py.HardLink):
            return None
    return file[key] if isinstance(file[key], h5py.Dataset) else None


def require_plain(dataset: h5py.Dataset, source: str | os.PathLike[str], kinds: str = "fiu") -> None:
    """Raise DataError for numbers that lie in another file, and for ones that are claimed but not there."""
    name = dataset.name.lstrip("/")
    if dataset.external or dataset.is_virtual:
        raise DataError(f"{source}: '{name}' lies in another file, which is refused; copy it into this one")
    if dataset.dtype.kind not in kinds:
        raise DataError(f"{source}: '{name}' holds {dataset.dtype}, expected numbers")
    chunk_bytes = dataset.dtype.itemsize
    for length in dataset.chunks or ():
        chunk_bytes *= length  # a chunk is unpacked whole, even where the data set is smaller
    require_no_bomb(max(dataset.nbytes, chunk_bytes), dataset.id.get_storage_size(), f"{source}: '{name}'")


def require_zip(path: Path) -> None:
    """Raise DataError for a zip archive that unpacks to far more than it is, or is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            claimed_bytes = sum(member.file_size for member in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path}: is damaged, cut short or no zip archive ({error})") from None
    require_no_bomb(claimed_bytes, path.stat().st_size, str(path))


def gunzip(content: bytes, what: str) -> bytes:
    """The unpacked bytes. Raises DataError for a bomb, and as `gzip` does for damaged bytes."""
    limit = max(ALWAYS_FINE_BYTES, LARGEST_GROWTH * len(content))
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        unpacked = stream.read(limit + 1)
    require_no_bomb(len(unpacked), len(content), what)
    return unpacked


def read_regular(path: str | os.PathLike[str], limit_bytes: int | None = None) -> bytes:
    """The bytes of a regular file, since a device or a pipe may never end.

    Raises OSError where it cannot be read, and DataError for anything else or beyond the limit.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or pipe"
            raise DataError(f"{os.fspath(path)}: is {kind}, expected a file")
        if limit_bytes is not None and status.st_size > limit_bytes:
            raise DataError(f"{os.fspath(path)}: has {status.st_size:,} bytes, at most {limit_bytes:,} are read")
        return file.read()


def fault_of_path(path: str) -> str | None:
    """What is wrong with a path that should be relative and stay below its folder; None where nothing is."""
    if not path.strip():
        return "is empty"
    if any(unicodedata.category(character) == "Cc" for character in path if not " " <= character <= "~"):
        return "has control characters, which terminals obey"
    if len(path.encode("utf-8", "surrogatepass")) > LONGEST_PATH_BYTES:
        return f"is longer than {LONGEST_PATH_BYTES} bytes"
    if path[0] in "/\\" or path[1:2] == ":" or ".." in path.replace("\\", "/").split("/"):
        return "leaves the images folder"
    if path[0] in "=+-@":
        return "starts like a formula, which tables would run"
    return None


def spelling_on_disk(folder: Path, name: str) -> str:
    """The name, or how another system writes it if that is there: accents as signs of their own, backslashes."""
    plain = name.replace("\\", "/")
    spellings = [name, plain, *(unicodedata.normalize(form, plain) for form in ("NFC", "NFD"))]
    return next((each for each in spellings if os.path.exists(folder / each)), name)  # noqa: PTH110 - no error for long names


def inside(folder: Path, name: str, source: str | os.PathLike[str]) -> Path:
    """`folder / name`. Raises DataError, naming `source`, for a name that leads out of the folder."""
    if fault := fault_of_path(name):
        raise DataError(f"{source}: the image {name[:200]!r} {fault}; expected a path relative to {folder}")
    path = folder / name
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{source}: the image {path} is a link that leaves {folder}, which is refused; copy the file")
    return path
