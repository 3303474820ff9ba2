"""Tables of numbers by image name or by frame number of a video."""

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from integral_pose.errors import DataError
from integral_pose.io.readers import read_text

LARGEST_FILE_BYTES = 200_000_000

Value = TypeVar("Value")


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[str], str, str]]:
    """Name, numbers, place and the columns' names of each row below the header `file` or `frame` with one of `columns`.

    Raises DataError.
    """
    try:
        text = read_text(path, LARGEST_FILE_BYTES)
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from None
    header = [name.strip() for name in rows[0]] if rows else []
    named = ",".join(header[1:])
    if header[:1] not in (["file"], ["frame"]) or named not in columns:
        wanted = " or ".join(f"'{key},{names}'" for names in columns for key in ("file", "frame"))
        raise DataError(f"{path}: expected the header {wanted}, found {','.join(header)!r:.100}")
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{path}, row {number}: has {len(row)} columns, expected {len(header)}")
        name = row[0].strip()
        if header[0] == "frame" and not name.isdecimal():
            raise DataError(f"{path}, row {number}: expected a frame number from 0, found {row[0]!r:.100}")
        yield str(int(name)) if header[0] == "frame" else name, row[1:], f"row {number}", named


def by_image(table: Mapping[str, Value], name: str, number: int | None) -> Value | None:
    """The entry of an image by its path within the folder, else by its file name; of a video's frame by its number."""
    name = same_spelling(name.removeprefix("./"))
    if number is not None:
        return table.get(str(number))
    return table.get(name, table.get(name.rpartition("/")[2]))


def same_spelling(name: str) -> str:
    """One spelling of names in tables and folders: accents as Linux has them, slashes of one kind."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))
