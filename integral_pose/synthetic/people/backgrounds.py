"""Photographs that stand behind people: any pictures of a folder."""

from pathlib import Path

import numpy as np

from integral_pose.errors import DataError
from integral_pose.io.images import read_picture, starts_as_image
from integral_pose.io.notices import notify
from integral_pose.synthetic.people.image_filters import resize
from integral_pose.synthetic.people.materials import linear_light
from integral_pose.synthetic.ray_casting import Array32


def find_photographs(folder: Path) -> tuple[Path, ...]:
    """The readable pictures of a folder and those in it, sorted; says how many files are passed over.

    Raises DataError where there is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; --backgrounds names one of photographs")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    readable = tuple(path for path in files if _is_readable(path))
    if not readable:
        raise DataError(f"{folder}: holds no readable picture among {len(files):,} files; name another --backgrounds")
    if len(readable) < len(files):
        notify(
            f"{folder}: {len(files) - len(readable):,} of {len(files):,} files passed over: no pictures, or too large"
        )
    return readable


def _is_readable(path: Path) -> bool:
    if not starts_as_image(path) and path.suffix.lower() not in (".webp", ".bmp", ".ppm", ".avif"):
        return False
    try:
        read_picture(path)
    except DataError:
        return False
    return True


def draw_backdrop(photographs: tuple[Path, ...], size_px: int, rng: np.random.Generator) -> Array32:
    """(size, size, 3) linear light: some square of some photograph, at times mirrored."""
    picture = read_picture(photographs[int(rng.integers(len(photographs)))])
    height, width = picture.shape[:2]
    side = max(16, int(min(height, width) * rng.uniform(0.4, 1.0)))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    square = resize(picture[top : top + side, left : left + side], size_px)
    if rng.random() < 0.5:
        square = square[:, ::-1]
    return linear_light(square.astype(np.float32) / 255)
