"""Bytes on disk -> RGB array of the size the network takes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from integral_pose.errors import DataError

JPEG_MAGIC = b"\xff\xd8"
OTHER_FORMATS = ("PNG", "WEBP", "BMP", "TIFF", "PPM")  # not all that Pillow knows: some start other programs


def read_image(path: Path, stored_size: int, height: int, width: int) -> NDArray[np.uint8]:
    """The image of `stored_size` x `stored_size` px at `path` as (height, width, 3) RGB.

    Raises DataError naming the file if it is missing, damaged or of another size.
    """
    try:
        encoded = path.read_bytes()  # read first, decode from memory: decoders stumble over odd file names
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        if encoded.startswith(JPEG_MAGIC):
            found, image = _decode_jpeg(encoded, stored_size, height, width)
        else:
            found, image = _decode_other(encoded, stored_size)
    except DataError:
        raise
    except Exception as error:  # decoders raise ValueError, OSError, SyntaxError and more on damaged bytes
        raise DataError(
            f"{path}: is damaged or no image ({error}); restore the file or take it out of the list"
        ) from None
    if found != (stored_size, stored_size):
        raise DataError(
            f"{path}: is {found[1]} x {found[0]} px, expected {stored_size} x {stored_size} (data.stored_size); "
            "crop all images to one size"
        )
    return resize(image, height, width)


def resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3) -> (height, width, 3), antialiased; pixel areas keep their place (no half-pixel shift)."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _decode_jpeg(
    encoded: bytes, stored_size: int, height: int, width: int
) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    # The header comes first: a small file can claim a picture that fills the memory.
    size = simplejpeg.decode_jpeg_header(encoded)[:2]
    if size != (stored_size, stored_size):
        return size, np.empty((0, 0, 3), np.uint8)
    # The decoder itself scales down by two and more at a fraction of the cost.
    reduced = stored_size >= 2 * max(height, width)
    limits = {"min_height": height, "min_width": width} if reduced else {}
    return size, simplejpeg.decode_jpeg(encoded, "RGB", **limits)


def _decode_other(encoded: bytes, stored_size: int) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    with Image.open(io.BytesIO(encoded), formats=OTHER_FORMATS) as picture:
        size = (picture.height, picture.width)
        if size != (stored_size, stored_size):
            return size, np.empty((0, 0, 3), np.uint8)
        if picture.mode.startswith(("I", "F")):  # Pillow would clip these to white
            raise ValueError(f"it has more than 8 bits a channel: mode {picture.mode}")
        return size, np.asarray(picture.convert("RGB"))
