"""The one image decoder: encoded bytes -> upright 8-bit RGB, for training, converters and predictions.

A picture is turned as its metadata say, what is transparent becomes black, and 16-bit grey is scaled to 8 bits. It is
refused by its header first, since a few bytes can claim a picture that fills the memory.
"""

import io
import math
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from integral_pose.errors import DataError
from integral_pose.io.untrusted import read_regular

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

# Not all that Pillow knows: some start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "AVIF")
LARGEST_BYTES = 500_000_000
LARGEST_PX, LONGEST_SIDE_PX = 64_000_000, 20_000
SHORTEST_SIDE_PX = 16
REDUCTIONS = (1, 2, 4, 8)  # the JPEG decoder itself scales down by these at a fraction of the cost
BLOCK_PX = 8  # of JPEG: scaled down, each becomes a whole number of pixels a side
JPEG_START, JPEG_METADATA, JPEG_SCAN = b"\xff\xd8", 0xE1, 0xDA
IMAGE_STARTS = (JPEG_START + b"\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")  # of files whose names do not tell
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
UPRIGHT = 1  # the EXIF orientation of a picture that is not turned


class UnreadableImage(ValueError):  # noqa: N818 - a part of a message, not an error that a user sees
    """What is wrong with an image, without its name."""


def read_picture(path: Path, *, as_stored: bool = False) -> Picture:
    """(H, W, 3) RGB. Raises DataError naming the file where it cannot be used.

    `as_stored` leaves a JPEG as it is stored, whatever its metadata say of its orientation.
    """
    try:
        encoded = read_regular(path, LARGEST_BYTES)  # decoded from memory: decoders stumble over odd file names
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return decode_picture(encoded, str(path), as_stored=as_stored)


def starts_as_image(path: Path) -> bool:
    """Whether a regular file starts as images do; what cannot be opened is none."""
    try:
        if not path.is_file():  # opening a pipe would wait
            return False
        with path.open("rb") as file:
            return file.read(8).startswith(IMAGE_STARTS)
    except OSError:
        return False


def has_sensible_header(path: Path) -> bool:
    """Whether the first bytes of a file are of one picture of a size that is read; whether it is whole is not seen."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata too
            with Image.open(file, formats=FORMATS) as picture:
                _require_sensible(*picture.size)
                return not _frames_of_film(picture)
    except Exception:  # as in `_decode`
        return False


def decode_picture(encoded: bytes, source: str, *, as_stored: bool = False) -> Picture:
    """(H, W, 3) RGB of the bytes of an image file of any size. Raises DataError naming `source`."""
    try:
        return _decode(encoded, _require_sensible, as_stored=as_stored)
    except UnreadableImage as error:
        raise DataError(f"{source}: {error}") from None


def decode_crop(encoded: bytes, stored_size: int, out: Picture) -> None:
    """Fill `out` (height, width, 3), contiguous, with an image of `stored_size` x `stored_size` px.

    To the last bit what `predict` makes of the same file. Raises UnreadableImage if the bytes are damaged or of an
    image of another size.
    """
    out[...] = shrink_crop(_decode(encoded, partial(_require_stored, stored_size)), *out.shape[:2])


def decode_crop_scaled(encoded: bytes, stored_size: int, out: Picture) -> None:
    """`decode_crop`, faster where the JPEG decoder can scale: equal to rounding but for colours at half resolution.

    Those keep their resolution, while `decode_crop` interpolates and averages them. Raises as it does.
    """
    height, width = out.shape[:2]
    limits = {"min_height": height, "min_width": width} if block_pixels(stored_size, height, width) else {}
    is_exact = height == width and any(height * factor == stored_size for factor in REDUCTIONS)
    if is_exact and _decode_into(encoded, stored_size, out, limits):
        return
    picture = _decode(encoded, partial(_require_stored, stored_size), limits)
    is_whole = picture.shape[:2] == (stored_size, stored_size)
    out[...] = shrink_crop(picture, height, width) if is_whole else resize(picture, height, width)


def shrink_crop(crop: Picture, height: int, width: int) -> Picture:
    """(S, S, 3) -> (height, width, 3) by the filters of a JPEG decoder that scales, then `resize`."""
    pixels = block_pixels(len(crop), height, width)
    return resize(crop if pixels is None else _shrink_blocks(crop, pixels), height, width)


def block_pixels(stored_size: int, height: int, width: int) -> int | None:
    """How many pixels a side the decoder makes of each block of a crop of that size; None where it does not scale.

    The fewest that make `height` and `width` or more of the crop, the last block being cut.
    """
    longest = max(height, width)
    return BLOCK_PX * (longest - 1) // stored_size + 1 if stored_size >= 2 * longest else None


def block_weights(pixels: int) -> NDArray[np.float32]:
    """(pixels, 8): what a block's rows and columns are multiplied by, as in libjpeg-turbo's scaled inverse DCT.

    That is the mean over each pixel's area, where whole pixels make it up; else (3) the lowest frequencies alone.
    """
    if BLOCK_PX % pixels == 0:
        return np.repeat(np.eye(pixels, dtype=np.float32), BLOCK_PX // pixels, 1) * np.float32(pixels / BLOCK_PX)
    frequencies = np.arange(pixels)
    small, large = (np.cos(np.pi * np.outer(np.arange(size) + 0.5, frequencies) / size) for size in (pixels, BLOCK_PX))
    norms = np.where(frequencies == 0, 1, 2) / BLOCK_PX
    return ((small * norms) @ large.T).astype(np.float32)


def resize(image: Picture, height: int, width: int) -> Picture:
    """(H, W, 3) -> (height, width, 3), antialiased; pixel areas keep their place (no half-pixel shift)."""
    if image.shape[:2] == (height, width):
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


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
    try:
        _require_sensible(width_px, height_px)
    except UnreadableImage as error:
        raise DataError(f"{source}: {error}") from None


def _shrink_blocks(image: Picture, pixels: int) -> Picture:
    """Each block of 8 x 8 px -> pixels x pixels; blocks beyond the edge go on with its last pixels."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % BLOCK_PX), (0, -width % BLOCK_PX), (0, 0)), "edge")
    rows, columns = padded.shape[0] // BLOCK_PX, padded.shape[1] // BLOCK_PX
    blocks = padded.reshape(rows, BLOCK_PX, columns, BLOCK_PX, 3).astype(np.float32)
    weights = block_weights(pixels)
    small = np.einsum("pi,rickd,qk->rpcqd", weights, blocks, weights, optimize=True)
    small = small.reshape(rows * pixels, columns * pixels, 3).round().clip(0, 255).astype(np.uint8)
    return small[: math.ceil(height * pixels / BLOCK_PX), : math.ceil(width * pixels / BLOCK_PX)]


def _require_sensible(width_px: int, height_px: int) -> None:
    size = f"is {width_px} x {height_px} px"
    if min(width_px, height_px) < SHORTEST_SIDE_PX:
        raise UnreadableImage(f"{size}; in less than {SHORTEST_SIDE_PX} px a side nobody can be seen")
    if width_px * height_px > LARGEST_PX or max(width_px, height_px) > LONGEST_SIDE_PX:
        raise UnreadableImage(
            f"{size}, at most {LARGEST_PX / 1e6:.0f} million px and {LONGEST_SIDE_PX:,} a side are read; shrink it"
        )


def _require_stored(stored_size: int, width_px: int, height_px: int) -> None:
    if (width_px, height_px) != (stored_size, stored_size):
        raise UnreadableImage(
            f"is {width_px} x {height_px} px, expected {stored_size} x {stored_size} (data.stored_size); "
            + (f"if all are so, set data.stored_size={width_px}; else " if width_px == height_px else "")
            + "crop all images to one size"
        )


def _decode(
    encoded: bytes,
    require_size: Callable[[int, int], None],
    jpeg_limits: dict[str, int] | None = None,
    *,
    as_stored: bool = False,
) -> Picture:
    """The whole picture, a JPEG scaled down as far as the limits allow; width and height are looked at first."""
    try:
        if encoded.startswith(JPEG_START):
            return _decode_jpeg(encoded, require_size, jpeg_limits or {}, as_stored)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            picture = Image.open(io.BytesIO(encoded), formats=FORMATS)
        with picture:
            require_size(*picture.size)
            if number := _frames_of_film(picture):
                raise UnreadableImage(f"holds {number} pictures; save the one that is meant, or make a video of it")
            return upright_rgb(picture)
    except (UnreadableImage, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise UnreadableImage(f"has more than {LARGEST_PX / 1e6:.0f} million px; make it smaller") from None
    except UnidentifiedImageError:
        if encoded[4:8] == b"ftyp" and encoded[8:12] in HEIF_BRANDS:
            raise UnreadableImage("is HEIC, as some phones save it, which is not read; convert it to JPEG") from None
        fault = f"of no known kind; expected {', '.join(FORMATS)}" if encoded else "empty"
    except Exception as error:  # decoders raise ValueError, OSError, SyntaxError and more on damaged bytes
        fault = str(error)
    raise UnreadableImage(f"is damaged or no image ({fault}); restore the file or leave it out")


def _frames_of_film(picture: Image.Image) -> int:
    """How many pictures a moving one has; 0 where it stands still."""
    number: int = getattr(picture, "n_frames", 1) if picture.format in ("GIF", "WEBP", "AVIF", "PNG") else 1
    return number if number > 1 else 0


def _decode_jpeg(
    encoded: bytes, require_size: Callable[[int, int], None], limits: dict[str, int], as_stored: bool
) -> Picture:
    """By a decoder that notices damage which Pillow paints over."""
    height, width = simplejpeg.decode_jpeg_header(encoded)[:2]
    require_size(width, height)
    orientation = UPRIGHT if as_stored else _jpeg_orientation(encoded)
    if orientation == UPRIGHT:
        return simplejpeg.decode_jpeg(encoded, "RGB", **limits)
    picture = Image.fromarray(simplejpeg.decode_jpeg(encoded, "RGB"))
    picture.getexif()[ExifTags.Base.Orientation] = orientation
    return upright_rgb(picture)


def _decode_into(encoded: bytes, stored_size: int, out: Picture, limits: dict[str, int]) -> bool:
    """Whether `out` now holds the image, an upright JPEG; else the caller finds out what it is."""
    if not encoded.startswith(JPEG_START) or _jpeg_orientation(encoded) != UPRIGHT:
        return False
    try:
        # The buffer's size keeps a picture that claims to be huge from memory.
        if limits and simplejpeg.decode_jpeg_header(encoded)[:2] != (stored_size, stored_size):
            return False
        return bool(simplejpeg.decode_jpeg(encoded, "RGB", buffer=out, **limits).shape == out.shape)
    except ValueError:
        return False


def _jpeg_orientation(encoded: bytes) -> int:
    """How EXIF or XMP say that a JPEG is turned; files without metadata cost a walk over their header."""
    at = len(JPEG_START)
    while encoded[at : at + 1] == b"\xff" and at + 4 <= len(encoded) and encoded[at + 1] != JPEG_SCAN:
        if encoded[at + 1] == JPEG_METADATA:
            return _orientation_by_pillow(encoded)
        is_padding = encoded[at + 1] == 0xFF
        at += 1 if is_padding else 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return UPRIGHT


def _orientation_by_pillow(encoded: bytes) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata, which do not make a picture unusable
            with Image.open(io.BytesIO(encoded), formats=("JPEG",)) as picture:
                return int(picture.getexif().get(ExifTags.Base.Orientation, UPRIGHT))
    except Exception:  # as above; whoever decodes the picture says what is wrong with it
        return UPRIGHT
