"""Pictures of all kinds become the same pixels; what cannot is named at once."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from integral_pose.errors import DataError
from integral_pose.io.images import decode_picture, read_picture

# The EXIF orientation -> how an upright picture lies in the file.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


@pytest.fixture
def upright():
    """(24, 40, 3): no two corners alike."""
    y, x = np.mgrid[:24, :40]
    return np.stack([6 * x, 10 * y, 3 * (x + y)], -1).astype(np.uint8)


def encoded(picture, form="PNG", **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_the_rotation_in_the_metadata_is_undone(upright, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(upright).transpose(STORED[orientation])
    options = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    found = decode_picture(encoded(stored, form, exif=exif, **options), "a.img")
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).max() <= (6 if form == "JPEG" else 0)


def test_grey_alpha_palette_and_16_bits(upright):
    grey = upright[..., 0]
    thrice = np.repeat(grey[..., None], 3, -1)
    np.testing.assert_array_equal(decode_picture(encoded(Image.fromarray(grey)), "grey"), thrice)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert deep.mode == "I;16"
    np.testing.assert_array_equal(decode_picture(encoded(deep), "16-bit"), thrice)
    np.testing.assert_array_equal(decode_picture(encoded(deep, "TIFF"), "16-bit"), thrice)
    opacity = np.full((24, 40, 1), 255, np.uint8)
    opacity[:, 20:] = 0
    found = decode_picture(encoded(Image.fromarray(np.concatenate([upright, opacity], -1))), "alpha")
    np.testing.assert_array_equal(found[:, :20], upright[:, :20])
    assert found[:, 20:].max() == 0
    palette = Image.fromarray(upright).quantize(16)
    np.testing.assert_array_equal(decode_picture(encoded(palette), "palette"), np.array(palette.convert("RGB")))
    bits = decode_picture(encoded(Image.fromarray(grey > 100)), "1 bit")
    np.testing.assert_array_equal(bits, np.where(thrice > 100, 255, 0))


def test_cmyk_and_grey_jpegs(upright):
    smooth = Image.new("RGB", (40, 24), (200, 120, 40))
    found = decode_picture(encoded(smooth.convert("CMYK"), "JPEG", quality=98), "cmyk.jpg")
    assert np.abs(found.astype(int) - [200, 120, 40]).max() <= 3
    grey = decode_picture(encoded(Image.fromarray(upright).convert("L"), "JPEG", quality=98), "grey.jpg")
    assert (grey[..., 0] == grey[..., 2]).all()


def png_header(width, height):
    body = b"IHDR" + struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return start + struct.pack(">I", 100) + b"IDAT"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.png: is damaged or no image .empty.; restore"),
        (b"<html>no</html>", "x.png: is damaged or no image .of no known kind; expected JPEG, PNG"),
        (encoded(Image.new("RGB", (1, 1))), "x.png: is 1 x 1 px; in less than 16 px a side nobody can be seen"),
        (png_header(20000, 10000), "x.png: has more than 64 million px; make it smaller"),
        (png_header(10000, 10000), "x.png: is 10000 x 10000 px, at most 64 million px"),
        (png_header(30000, 100), "x.png: is 30000 x 100 px, at most .* 20,000 a side"),
        (encoded(Image.new("RGB", (99, 99)), "JPEG")[:400], "x.png: is damaged or no image"),
        (encoded(Image.effect_noise((99, 99), 50))[:-2000], "x.png: is damaged or no image"),
        (encoded(Image.new("F", (32, 32)), "TIFF"), "x.png: .*more than 16 bits a channel: mode F"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(content, message, recwarn):
    with pytest.raises(DataError, match=message):
        decode_picture(content, "x.png")
    assert not recwarn.list


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="none.jpg: there is no such file"):
        read_picture(tmp_path / "none.jpg")
    with pytest.raises(DataError, match="is a folder, expected a file|cannot be read: Is a directory"):
        read_picture(tmp_path)
