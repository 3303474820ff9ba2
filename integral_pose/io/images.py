"""Encoded bytes -> RGB pixels of the size the network takes, straight into the memory of a batch."""

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
EXACT_REDUCTIONS = (2, 4, 8)  # the JPEG decoder itself scales down by these at a fraction of the cost


def read_image(path: Path, stored_size: int, height: int, width: int) -> NDArray[np.uint8]:
    """The image of `stored_size` x `stored_size` px at `path` as (height, width, 3) RGB.

    Raises DataError naming the file if it is missing, damaged or of another size.
    """
    try:
        encoded = path.read_bytes()  # read first, decode from memory: decoders stumble over odd file names
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    pixels = np.empty((height, width, 3), np.uint8)
    try:
        decode_image(encoded, stored_size, pixels)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return pixels


def decode_image(encoded: bytes, stored_size: int, out: NDArray[np.uint8]) -> None:
    """Fill `out` (height, width, 3), contiguous, with an image of `stored_size` x `stored_size` px.

    Raises ValueError without the image's name if the bytes are damaged or of an image of another size.
    """
    is_jpeg = encoded.startswith(JPEG_MAGIC)
    if is_jpeg and out.shape[0] == out.shape[1] == stored_size and _decode_into(encoded, out):
        return
    try:
        found, image = (_decode_jpeg if is_jpeg else _decode_other)(encoded, stored_size, out)
    except Exception as error:  # decoders raise ValueError, OSError, SyntaxError and more on damaged bytes
        raise ValueError(f"is damaged or no image ({error}); restore the file or take it out of the list") from None
    if found != (stored_size, stored_size):
        raise ValueError(
            f"is {found[1]} x {found[0]} px, expected {stored_size} x {stored_size} (data.stored_size); "
            "crop all images to one size"
        )
    if image is not out:
        out[...] = resize(image, *out.shape[:2])


def resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3) -> (height, width, 3), antialiased; pixel areas keep their place (no half-pixel shift)."""
    if image.shape[:2] == (height, width):
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _decode_into(encoded: bytes, out: NDArray[np.uint8], **limits: int) -> bool:
    """Whether `out` now holds the image; the buffer's size keeps a picture that claims to be huge from memory."""
    try:
        return bool(simplejpeg.decode_jpeg(encoded, "RGB", buffer=out, **limits).shape == out.shape)
    except ValueError:
        return False  # the caller finds out whether it is the size or the bytes


def _decode_jpeg(encoded: bytes, stored_size: int, out: NDArray[np.uint8]) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    # The header comes first: a small file can claim a picture that fills the memory.
    size = simplejpeg.decode_jpeg_header(encoded)[:2]
    if size != (stored_size, stored_size):
        return size, np.empty((0, 0, 3), np.uint8)
    height, width = out.shape[:2]
    reduced = stored_size >= 2 * max(height, width)
    limits = {"min_height": height, "min_width": width} if reduced else {}
    is_exact = height == width and any(height * factor == stored_size for factor in EXACT_REDUCTIONS)
    if is_exact and _decode_into(encoded, out, **limits):
        return size, out
    return size, simplejpeg.decode_jpeg(encoded, "RGB", **limits)


def _decode_other(
    encoded: bytes, stored_size: int, out: NDArray[np.uint8]
) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    with Image.open(io.BytesIO(encoded), formats=OTHER_FORMATS) as picture:
        size = (picture.height, picture.width)
        if size != (stored_size, stored_size):
            return size, np.empty((0, 0, 3), np.uint8)
        if picture.mode.startswith(("I", "F")):  # Pillow would clip these to white
            raise ValueError(f"it has more than 8 bits a channel: mode {picture.mode}")
        return size, np.array(picture.convert("RGB"))  # a copy: Pillow's own memory is read-only
