"""What is to be predicted, as a stream of pictures with names: one image, a folder, a video, standard input."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from integral_pose.errors import DataError
from integral_pose.io.images import LARGEST_BYTES, Picture, decode_picture, read_picture, starts_as_image
from integral_pose.io.notices import notify
from integral_pose.io.untrusted import fault_of_path
from integral_pose.predict.image_tables import by_image
from integral_pose.predict.videos import VIDEO_SUFFIXES, VideoFile

STDIN_NAME = "stdin"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif", ".avif")
# Pictures too, which are not read: each is named as a fault.
OTHER_PICTURES = (".heic", ".heif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".psd")
NAMED = 5  # files that are passed over or cannot be read


@dataclass(frozen=True)
class NamedPicture:
    """One picture to look for people in."""

    name: str  # path within the folder, or file name
    pixels: Picture
    number: int | None = None  # in a video, from 0
    time_s: float | None = None  # in a video, from its first frame

    @property
    def source(self) -> str:
        """For messages."""
        return self.name if self.number is None else f"{self.name}, frame {self.number}"


@dataclass
class PictureSource:
    """Pictures in order. Damaged files of a folder are passed over and kept in `faults`; alone they are errors."""

    paths: list[tuple[str, Path]] = field(default_factory=list)  # name, path
    video: VideoFile | None = None
    from_stdin: bool = False
    is_folder: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def total(self) -> int | None:
        """How many pictures there are, as far as that is known."""
        return self.video.claimed_frames if self.video else len(self.paths) or 1

    def pictures(self) -> Iterator[NamedPicture]:
        """Raises DataError where the source cannot be read."""
        if self.video:
            name = self.video.path.name
            for number, frame in enumerate(self.video.frames()):
                yield NamedPicture(name, frame.picture, number, frame.time_s)
            self.faults += [self.video.fault] if self.video.fault else []
        elif self.from_stdin:
            yield NamedPicture(STDIN_NAME, _read_stdin())
        for name, path in self.paths:
            try:
                yield NamedPicture(name, read_picture(path))
            except DataError as error:
                if not self.is_folder:
                    raise
                self.faults.append(str(error))

    def require_a_match(self, table: Mapping[str, object], fault: str) -> None:
        """Raise DataError where a table by image or frame has nothing for any of the pictures: it belongs to others."""
        if self.video:
            wanted, is_of_some = "frame numbers, from 0", any(name.isdecimal() for name in table)
        else:
            names = [name for name, _ in self.paths] or [STDIN_NAME]
            wanted, is_of_some = repr(names[0]), any(by_image(table, name, None) is not None for name in names)
        if not is_of_some:
            found = next(iter(table), None)
            raise DataError(f"{fault} for any of these pictures; expected {wanted}, found {found!r:.200}")


def open_source(text: str, out: Path) -> PictureSource:
    """The source that the command line names; what lies in `out` is not taken for an image of the folder.

    Raises DataError where there is none, or where a name could not be written into a table.
    """
    path = Path(text)
    if text == "-":
        return PictureSource(from_stdin=True)
    if path.is_dir():
        files = sorted(_files_below(path, out))
        found = [file for file in files if _is_image(file)]
        if not found:
            raise DataError(f"{path}: this folder holds no image; expected {', '.join(IMAGE_SUFFIXES)}")
        _say_passed_over(path, sorted(set(files) - set(found)))
        return PictureSource([(_table_name(p.relative_to(path).as_posix()), p) for p in found], is_folder=True)
    name = _table_name(path.name)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return PictureSource(video=VideoFile(path))
    return PictureSource([(name, path)])


def _is_image(path: Path) -> bool:
    """By its name, or by its first bytes: downloads come as .jpg_large or without a suffix."""
    return path.suffix.lower() in (*IMAGE_SUFFIXES, *OTHER_PICTURES) or starts_as_image(path)


def _say_passed_over(folder: Path, others: Sequence[Path]) -> None:
    if others:
        named = ", ".join(file.relative_to(folder).as_posix() for file in others[:NAMED])
        more = ", .." if len(others) > NAMED else ""
        count = f"{len(others)} files are no pictures and are" if len(others) > 1 else "one file is no picture and is"
        notify(f"{folder}: {count} passed over: {named}{more}")


def _files_below(folder: Path, out: Path) -> Iterator[Path]:
    results = out.resolve()
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        folders[:] = [name for name in folders if not name.startswith(".") and (here / name).resolve() != results]
        yield from (here / name for name in files if not name.startswith("."))


def _table_name(name: str) -> str:
    """The name as tables have it: one that starts like a formula is written as a path. Raises DataError."""
    safe = f"./{name}" if name[:1] in tuple("=+-@") else name
    try:
        safe.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{name!r}: this file name is no UTF-8; rename the file") from None
    if fault := fault_of_path(safe):
        raise DataError(f"{name!r:.200}: this file name {fault}; rename the file")
    return safe


def _read_stdin() -> Picture:
    encoded = sys.stdin.buffer.read(LARGEST_BYTES + 1)
    if len(encoded) > LARGEST_BYTES:
        raise DataError(f"standard input: has more than {LARGEST_BYTES:,} bytes, expected one image")
    return decode_picture(encoded, "standard input")
