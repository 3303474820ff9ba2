"""What a process wrote below a folder, operation by operation, as a library records it that is preloaded."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("recorded_writes.c")
HEAD = struct.Struct("=cQQII")


class Record(NamedTuple):
    """One operation: C(reate), W(rite at `number`), T(runcate) and A(llocate to the size `number`), S(ync) a file or
    folder, F(ile system synced), R(ename), L(ink), U(nlink or remove a folder), M(ake a folder)."""

    kind: str
    inode: int
    number: int
    first: bytes  # what was written, or a path
    second: bytes  # the other path of R and L

    @property
    def path(self) -> Path:
        """The path, or the old one of two."""
        return Path(self.first.decode())

    @property
    def new_path(self) -> Path:
        """The new path of R and L."""
        return Path(self.second.decode())


def build_recorder(folder: Path) -> Path | None:
    """The library, to be named in LD_PRELOAD; None where it cannot be built."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        return None
    library = folder / "recorded_writes.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, SOURCE], check=True)
    return library


def recording(to: Path, folder: Path) -> dict[str, str]:
    """The environment in which a process with the library records its writes below `folder` in the file `to`."""
    return {"RECORD_FOLDER": str(folder), "RECORD_TO": str(to)}


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file, in their order."""
    with path.open("rb") as file:
        while head := file.read(HEAD.size):
            kind, inode, number, first_bytes, second_bytes = HEAD.unpack(head)
            yield Record(kind.decode(), inode, number, file.read(first_bytes), file.read(second_bytes))
