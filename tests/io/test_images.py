"""Stored crops of every kind come out as RGB of the wanted size; the others as one clear error."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from integral_pose.io.images import UnreadableImage, decode_crop, decode_crop_scaled, read_picture, resize, shrink_crop

SIDE = 64


def picture(side=SIDE):
    y, x = np.mgrid[:side, :side] / side * 2 * np.pi
    return np.stack([127 + 100 * np.sin(x + k) * np.cos(y) for k in range(3)], -1).astype(np.uint8)


def save(path, image, **options):
    image.save(path, **options)
    return path


def read_crop(path, stored_size=SIDE, height=SIDE, width=SIDE, decode=decode_crop_scaled):
    pixels = np.empty((height, width, 3), np.uint8)
    decode(path.read_bytes(), stored_size, pixels)
    return pixels


def error_of(path):
    with pytest.raises(UnreadableImage) as caught:
        read_crop(path)
    with pytest.raises(UnreadableImage, match=re.escape(str(caught.value))):
        read_crop(path, decode=decode_crop)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.tif", "ä #%$\n.png", "-x.png"])
def test_lossless_formats_come_back_as_they_were(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    save(path, Image.fromarray(picture()), format={"a.bmp": "BMP", "a.ppm": "PPM", "a.tif": "TIFF"}.get(name, "PNG"))
    found = read_crop(path)
    np.testing.assert_array_equal(found, picture())
    assert found.flags.writeable


def test_grey_alpha_and_palette(tmp_path):
    grey = Image.fromarray(picture()).convert("L")
    found = read_crop(save(tmp_path / "g.png", grey))
    np.testing.assert_array_equal(found, np.repeat(np.asarray(grey)[..., None], 3, -1))
    opacity = np.repeat([[255], [0]], SIDE // 2, 0).repeat(SIDE, 1).astype(np.uint8)
    alpha = Image.fromarray(np.dstack([picture(), opacity]))
    found = read_crop(save(tmp_path / "a.png", alpha))
    np.testing.assert_array_equal(found[: SIDE // 2], picture()[: SIDE // 2])
    assert found[SIDE // 2 :].max() == 0, "what is transparent is black"
    palette = Image.fromarray(picture()).quantize(16)
    found = read_crop(save(tmp_path / "p.png", palette))
    np.testing.assert_array_equal(found, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(("mode", "tolerance"), [("RGB", 3), ("L", 3), ("CMYK", 4)])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_of_every_kind(tmp_path, mode, tolerance, progressive):
    image = Image.fromarray(picture()).convert(mode)
    path = save(tmp_path / "a.jpg", image, quality=95, subsampling=0, progressive=progressive)
    found = read_crop(path)
    assert found.shape == (SIDE, SIDE, 3)
    assert np.abs(found.astype(int) - np.asarray(image.convert("RGB"))).mean() < tolerance


def test_a_jpeg_named_png(tmp_path):
    (tmp_path / "a.png").write_bytes(simplejpeg.encode_jpeg(picture(), quality=95))
    assert np.abs(read_crop(tmp_path / "a.png").astype(int) - picture()).mean() < 5


def test_reduced_decoding_equals_an_area_mean(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(simplejpeg.encode_jpeg(picture(256), quality=98, colorsubsampling="444"))
    decoded, decode = [], simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *a, **k: decoded.append(decode(*a, **k)) or decoded[-1])
    found = read_crop(path, 256, 128, 128).astype(float)
    assert decoded[0].shape == (128, 128, 3)  # by the decoder itself, at a fraction of the cost
    mean = picture(256).reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(found - mean).mean() < 1.5
    # A shift by half a pixel would show: neighbours differ by more than that.
    assert np.abs(found[:, 1:] - mean[:, :-1]).mean() > 1.5


@pytest.mark.parametrize(
    ("side", "height", "width"),
    [
        (256, 128, 128), (256, 96, 96), (256, 64, 64), (256, 32, 32), (256, 64, 96), (256, 128, 32), (256, 192, 192),
        (250, 128, 128), (250, 96, 96), (250, 32, 32), (128, 128, 128), (64, 96, 96),
    ],
)  # fmt: skip
def test_pixels_shrink_as_the_decoder_does_it(tmp_path, side, height, width):
    """With the sharp edges of a chequered picture, which every other filter shows otherwise."""
    grey = np.random.default_rng(0).integers(40, 215, (32, 32), np.uint8).repeat(8, 0).repeat(8, 1)[3:, 3:]
    chequers = np.pad(grey, ((3, 0), (3, 0)), "edge")[:side, :side, None].repeat(3, 2)
    path = tmp_path / "a.jpg"
    path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(chequers), quality=95))
    whole = read_crop(path, side, side, side)
    found = read_crop(path, side, height, width).astype(int)
    assert np.abs(shrink_crop(whole, height, width) - found).max() <= 1
    if side >= 2 * max(height, width):
        assert np.abs(resize(whole, height, width) - found).mean() > 1


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 32), (24, 32), (96, 80)])
@pytest.mark.parametrize("name", ["fine.jpg", "coarse.jpg", "turned.jpg", "a.png"])
def test_a_crop_is_what_its_whole_picture_shrinks_to(tmp_path, name, height, width):
    """So a prediction is the same for a crop that was stored and for its picture; the scaled decoder is close to it."""
    options = {"fine.jpg": {"subsampling": 0}, "coarse.jpg": {"subsampling": 2}, "turned.jpg": {"exif": Image.Exif()}}
    if name == "turned.jpg":
        options[name]["exif"][0x0112] = 6
    path = save(tmp_path / name, Image.fromarray(picture()), **options.get(name, {}))
    found = read_crop(path, SIDE, height, width, decode_crop)
    np.testing.assert_array_equal(found, shrink_crop(read_picture(path), height, width))
    assert np.abs(read_crop(path, SIDE, height, width).astype(int) - found).mean() < 1


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 64), (32, 128), (96, 160)])
def test_pixel_areas_keep_their_place(height, width):
    """A ramp from edge to edge stays that ramp at the new pixel centres."""
    ramp = np.repeat((np.arange(64) + 0.5)[None, :, None] * 4, 64, 0).repeat(3, 2)
    found = resize(ramp.astype(np.uint8), height, width)
    assert found.shape == (height, width, 3)
    assert found.flags.writeable
    expected = (np.arange(width) + 0.5) / width * 256
    inner = slice(width // 8, -width // 8)
    np.testing.assert_allclose(found[height // 2, inner, 0], expected[inner], atol=1.1)


def test_other_sizes(tmp_path):
    for name in ("a.jpg", "a.png"):
        path = save(tmp_path / name, Image.fromarray(picture()[:40]))
        assert error_of(path) == "is 64 x 40 px, expected 64 x 64 (data.stored_size); crop all images to one size"
        path = save(tmp_path / name, Image.fromarray(picture()[:40, :40]))
        assert "expected 64 x 64 (data.stored_size); if all are so, set data.stored_size=40; else crop" in error_of(
            path
        )


def test_a_small_file_that_claims_a_huge_picture(tmp_path):
    encoded = bytearray(simplejpeg.encode_jpeg(picture(), quality=90))
    at = encoded.index(b"\xff\xc0") + 5
    encoded[at : at + 4] = b"\xff\xdc\xff\xdc"
    (tmp_path / "a.jpg").write_bytes(encoded)
    assert error_of(tmp_path / "a.jpg").startswith("is 65500 x 65500 px, expected 64 x 64")


def test_unreadable_images(tmp_path):
    encoded = simplejpeg.encode_jpeg(picture(), quality=95)
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "PNG")
    for name, content in (
        ("empty.jpg", b""), ("text.jpg", b"hello"), ("cut.jpg", encoded[:900]),
        ("head.jpg", encoded[:3]),
        ("cut.png", stream.getvalue()[:400]), ("script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert error_of(tmp_path / name).startswith("is damaged or no image ("), name
        assert error_of(tmp_path / name).endswith("); restore the file or leave it out"), name


def test_formats_that_start_other_programs_are_not_even_tried(tmp_path):
    path = save(tmp_path / "a.eps", Image.fromarray(picture()))
    assert error_of(path).startswith("is damaged or no image (of no known kind")


def test_16_bits_become_8_and_more_are_refused(tmp_path):
    path = save(tmp_path / "deep.png", Image.fromarray(picture()[..., 0].astype(np.uint16) * 257))
    np.testing.assert_array_equal(read_crop(path), np.repeat(picture()[..., :1], 3, -1))
    path = save(tmp_path / "float.tif", Image.fromarray(picture()[..., 0].astype(np.float32)))
    assert "more than 16 bits a channel" in error_of(path)


@pytest.mark.parametrize("size", [SIDE, SIDE // 2, SIDE // 4 * 3])
@pytest.mark.parametrize("padded", [False, True])
def test_a_turned_jpeg_is_turned_back(tmp_path, size, padded):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(picture()).transpose(Image.Transpose.ROTATE_90)
    path = save(tmp_path / "a.jpg", stored, quality=98, subsampling=0, exif=exif)
    if padded:  # fill bytes may stand before a marker
        path.write_bytes(path.read_bytes().replace(b"\xff\xe1", b"\xff\xff\xff\xe1", 1))
    found = read_crop(path, height=size, width=size)
    assert np.abs(found.astype(int) - resize(picture(), size, size)).max() <= 8


@pytest.mark.parametrize("size", [SIDE, SIDE // 2, SIDE // 4 * 3])
def test_metadata_that_turn_nothing_leave_the_pixels_as_they_are(tmp_path, size):
    image, exif = Image.fromarray(picture()), Image.Exif()
    exif[0x010E] = "description"
    plain = save(tmp_path / "plain.jpg", image, quality=90)
    described = save(tmp_path / "described.jpg", image, quality=90, exif=exif)
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(described.read_bytes().replace(b"Exif\0\0MM", b"Exif\0\0??"))
    expected = read_crop(plain, height=size, width=size)
    for path in (described, damaged):
        assert path.read_bytes() != plain.read_bytes()
        np.testing.assert_array_equal(read_crop(path, height=size, width=size), expected)
