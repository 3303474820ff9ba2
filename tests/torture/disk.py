"""A disk that remembers what of its files would survive a power cut, as POSIX promises it and no more.

The content of a file is safe once the file was synced; a name (made, changed, removed) once its folder was. What was
not synced may be there in part: some of the writes, the last of them torn; a size without its data; some of the
changes of names. File systems do better, each in its own way, and none does worse.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.recorded_writes import Record

SECTOR_BYTES = 512
FOLDER = None  # what a name of a folder stands for


@dataclass
class File:
    """A file's bytes now, those that are safe, and what was done since."""

    now: bytearray = field(default_factory=bytearray)
    safe: bytes = b""
    unsynced: list[Record] = field(default_factory=list)

    def do(self, record: Record) -> None:
        """Write or change the size."""
        _apply(self.now, record)
        self.unsynced.append(record)

    def sync(self) -> None:
        """All of it is safe now."""
        self.safe, self.unsynced = bytes(self.now), []

    def after_a_cut(self, rng: random.Random) -> bytes:
        """What may be found."""
        if not self.unsynced:
            return self.safe
        fate = rng.choice(("lost", "all", "some", "size alone"))
        found = bytearray(self.safe)
        if fate == "size alone":  # the file system had noted the size, and not yet written the data
            found += bytes(max(0, len(self.now) - len(found)))
        for record in self.unsynced if fate in ("all", "some") else ():
            if fate == "all" or rng.random() < 0.5:
                _apply(found, record)
            elif record.kind == "W" and rng.random() < 0.5:
                torn = rng.randrange(len(record.first) // SECTOR_BYTES + 1) * SECTOR_BYTES
                _apply(found, record._replace(first=record.first[:torn]))
        return bytes(found)


@dataclass
class Names:
    """Path -> its file; FOLDER for a folder."""

    of: dict[Path, File | None] = field(default_factory=dict)

    def do(self, change: Change) -> None:
        """One change of names; a half of a rename is none. A folder takes along what is in it."""
        old, new = change.removed, change.added
        if old is not None:
            self.of.pop(old, None)
        if new is not None:
            self.of[new] = change.file
        if old is not None and new is not None and change.file is FOLDER:
            inside = [path for path in self.of if old in path.parents]
            self.of |= {new / path.relative_to(old): self.of.pop(path) for path in inside}


@dataclass(frozen=True)
class Change:
    """A name that went, one that came and what it stands for."""

    removed: Path | None
    added: Path | None
    file: File | None = None

    def is_in(self, folder: Path) -> bool:
        """Whether a sync of the folder makes it safe."""
        return folder in (path.parent for path in (self.removed, self.added) if path)


class Disk:
    """The files below a folder, which all are safe at the beginning."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now, self.safe, self.unsynced = Names(), Names(), list[Change]()
        self._open: dict[int, File] = {}  # by inode
        for path in sorted(folder.rglob("*")):
            if path.is_dir():
                self.now.of[path] = FOLDER
            else:
                file = self._open.setdefault(path.stat().st_ino, File())
                file.now, file.safe = bytearray(path.read_bytes()), path.read_bytes()
                self.now.of[path] = file
        self.safe.of = dict(self.now.of)

    def do(self, records: Iterable[Record]) -> None:
        """Repeat what was recorded."""
        for record in records:
            if record.kind in "WTA":
                self._open[record.inode].do(record)
            elif record.kind == "S":
                self._sync(record)
            elif record.kind == "F":
                self._sync_all()
            elif (change := self._change(record)) is not None:
                self.now.do(change)
                self.unsynced.append(change)

    def _change(self, record: Record) -> Change | None:
        if record.kind == "C":
            self._open[record.inode] = File()  # the number may be one that a removed file had
            return Change(None, record.path, self._open[record.inode])
        if record.kind == "M":
            return Change(None, record.path, FOLDER)
        if record.kind == "U":
            return Change(record.path, None)
        file, there = self.now.of[record.path], self.now.of.get(record.new_path)
        if file is not FOLDER and file is there:
            return None  # a rename between two names of one file does nothing
        return Change(record.path if record.kind == "R" else None, record.new_path, file)

    def _sync(self, record: Record) -> None:
        if record.path == self.folder or self.now.of.get(record.path, 0) is FOLDER:
            for change in self.unsynced:
                if change.is_in(record.path):
                    self.safe.do(change)
            self.unsynced = [change for change in self.unsynced if not change.is_in(record.path)]
        else:
            self._open[record.inode].sync()

    def _sync_all(self) -> None:
        for file in self._open.values():
            file.sync()
        self.safe.of, self.unsynced = dict(self.now.of), []

    def content(self) -> dict[Path, bytes | None]:
        """Path below the folder -> the bytes of a file; None for a folder."""
        return {path.relative_to(self.folder): bytes(file.now) if file else None for path, file in self.now.of.items()}

    def write_after_a_cut(self, to: Path, rng: random.Random) -> None:
        """Write what may be found after a power cut now into a new folder."""
        names = Names(dict(self.safe.of))
        in_order = rng.random() < 0.5  # as in the journal of a file system
        kept = rng.randint(0, len(self.unsynced))
        for number, change in enumerate(self.unsynced):
            if number < kept if in_order else rng.random() < 0.5:
                names.do(change)
        to.mkdir()
        written: dict[int, Path] = {}
        for path, file in sorted(names.of.items()):
            place = to / path.relative_to(self.folder)
            if not place.parent.is_dir():
                continue  # its folder was lost
            if file is FOLDER:
                place.mkdir()
            elif id(file) in written:
                os.link(written[id(file)], place)
            else:
                place.write_bytes(file.after_a_cut(rng))
                written[id(file)] = place


def _apply(data: bytearray, record: Record) -> None:
    end = record.number + (len(record.first) if record.kind == "W" else 0)
    if len(data) < end:
        data += bytes(end - len(data))
    if record.kind == "W":
        data[record.number : end] = record.first
    elif record.kind == "T":
        del data[end:]
