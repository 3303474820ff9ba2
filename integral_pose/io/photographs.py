"""Photographs as they come -> upright 8-bit RGB. Anything else is refused with one message, by its header first."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from integral_pose.errors import DataError
from integral_pose.io.untrusted import read_regular

Picture = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")  # not all that Pillow knows: some start other programs
LARGEST_BYTES = 500_000_000
LARGEST_PX, LONGEST_SIDE_PX = 64_000_000, 20_000
SHORTEST_SIDE_PX = 16


def read_photograph(path: Path) -> Picture:
    """(H, W, 3) RGB, turned as its metadata say. Raises DataError naming the file where it cannot be used."""
    try:
        encoded = read_regular(path, LARGEST_BYTES)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return decode_photograph(encoded, str(path))


def decode_photograph(encoded: bytes, source: str) -> Picture:
    """(H, W, 3) RGB of the bytes of an image file, turned as its metadata say. Raises DataError naming `source`."""
    if not encoded:
        raise DataError(f"{source}: is empty, expected an image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            picture = Image.open(io.BytesIO(encoded), formats=FORMATS)
        with picture:
            require_sensible_size(*picture.size, source)
            if encoded.startswith(b"\xff\xd8") and picture.mode in ("RGB", "L"):
                # This decoder notices damage that Pillow paints over.
                found = Image.fromarray(simplejpeg.decode_jpeg(encoded, "RGB"))
                found.info = dict(picture.info)
                return upright_rgb(found)
            return upright_rgb(picture)
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{source}: has more than {LARGEST_PX / 1e6:.0f} million px; make it smaller") from None
    except UnidentifiedImageError:
        raise DataError(f"{source}: is no image of a known kind; expected {', '.join(FORMATS)}") from None
    except Exception as error:  # decoders raise ValueError, OSError, SyntaxError and more on damaged bytes
        raise DataError(f"{source}: is damaged or of an unknown kind ({error}); save it anew") from None


def upright_rgb(picture: Image.Image) -> Picture:
    """(H, W, 3) RGB of a picture of any kind, turned as its metadata say; what is transparent becomes black.

    Raises ValueError for numbers of more than 16 bits, whose black and white are unknown.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):
        grey = np.asarray(picture).astype(np.float32) / 257  # 65535 is 255
        return np.repeat(grey.round().astype(np.uint8)[..., None], 3, -1)
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"it has more than 16 bits a channel: mode {picture.mode}")
    if picture.has_transparency_data:
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture.convert("RGBA"))
    return np.array(picture.convert("RGB"))


def require_sensible_size(width_px: int, height_px: int, source: str) -> None:
    """Raise DataError for a picture too small to show a person or too large to be decoded without harm."""
    size = f"{source}: is {width_px} x {height_px} px"
    if min(width_px, height_px) < SHORTEST_SIDE_PX:
        raise DataError(f"{size}; in less than {SHORTEST_SIDE_PX} px a side nobody can be seen")
    if width_px * height_px > LARGEST_PX or max(width_px, height_px) > LONGEST_SIDE_PX:
        raise DataError(
            f"{size}, at most {LARGEST_PX / 1e6:.0f} million px and {LONGEST_SIDE_PX:,} a side are read; shrink it"
        )
