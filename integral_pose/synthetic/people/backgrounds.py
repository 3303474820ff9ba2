"""Photographs that stand behind people: any pictures of a folder."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from integral_pose.errors import DataError
from integral_pose.io.images import LARGEST_BYTES, Picture, decode_picture, has_sensible_header
from integral_pose.io.notices import notify
from integral_pose.io.untrusted import read_regular
from integral_pose.synthetic.people.image_filters import resize
from integral_pose.synthetic.people.materials import linear_light
from integral_pose.synthetic.ray_casting import Array32


class Photographs(NamedTuple):
    """Files by their paths in a folder; as text, since thousands of them are sent to the workers."""

    folder: Path
    names: tuple[str, ...]


def find_photographs(folder: Path) -> Photographs:
    """The pictures of a folder and those in it, sorted, by their headers; says how many files are passed over.

    Raises DataError where there is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; --backgrounds names one of photographs")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = tuple(str(path.relative_to(folder)) for path in files if has_sensible_header(path))
    if not found:
        raise DataError(f"{folder}: holds no readable picture among {len(files):,} files; name another --backgrounds")
    if len(found) < len(files):
        notify(f"{folder}: {len(files) - len(found):,} of {len(files):,} files passed over: no pictures, or too large")
    return Photographs(folder, found)


def draw_backdrop(photographs: Photographs, size_px: int, rng: np.random.Generator) -> Array32:
    """(size, size, 3) linear light: some square of some photograph, at times mirrored."""
    picture = _decode_from(photographs, int(rng.integers(len(photographs.names))))
    height, width = picture.shape[:2]
    side = max(16, int(min(height, width) * rng.uniform(0.4, 1.0)))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    square = resize(picture[top : top + side, left : left + side], size_px)
    if rng.random() < 0.5:
        square = square[:, ::-1]
    return linear_light(square.astype(np.float32) / 255)


def _decode_from(photographs: Photographs, first: int) -> Picture:
    """That photograph, or where it is damaged the next one that is not: the same for everybody who draws it.

    One that can no longer be read at all ends the rendering: when it is back, the same command goes on.
    """
    for name in photographs.names[first:] + photographs.names[:first]:
        path = photographs.folder / name
        try:
            return decode_picture(read_regular(path, LARGEST_BYTES), str(path))
        except OSError as error:
            raise DataError(
                f"{path}: was there when the rendering began and cannot be read: {error.strerror}. Bring it back and "
                "start the same command again"
            ) from None
        except DataError as error:
            _say_once(f"{error}; the next photograph stands in for it")
    raise DataError(f"{photographs.folder}: every photograph is damaged; name another --backgrounds")


@cache
def _say_once(text: str) -> None:
    notify(text)
