"""Rectangles of a picture resampled: where things come to lie, and how little memory it takes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from integral_pose.geometry.crop import Rectangle
from integral_pose.io import resampling
from integral_pose.io.resampling import resample_rectangle


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)


def test_width_and_height_have_scales_of_their_own(noise):
    # 20 x 10 px from (4, 6), to 10 x 20 px: half as wide, twice as high.
    crop = resample_rectangle(noise, Rectangle(4, 6, 20, 10), 20, 10)
    expected = Image.fromarray(noise).resize((10, 20), Image.Resampling.BILINEAR, box=(4, 6, 24, 16))
    np.testing.assert_array_equal(crop, np.asarray(expected))


def test_far_beyond_the_picture_it_is_the_same_crop(noise, monkeypatch):
    rectangle = Rectangle(-70, -33.3, 160, 100.5)
    sparing = resample_rectangle(noise, rectangle, 24, 48)
    with monkeypatch.context() as patched:
        patched.setattr(resampling, "LONGEST_WHOLE", np.inf)
        whole = resample_rectangle(noise, rectangle, 24, 48)
    assert np.abs(sparing.astype(int) - whole).max() <= 1
    assert whole.max() > 0
    inside = resample_rectangle(noise, Rectangle(-1e6, -1e6, 1e5, 1e5), 8, 8)
    assert (inside.shape, inside.max()) == ((8, 8, 3), 0)


def test_what_is_laid_out_is_of_the_size_of_the_picture(noise, monkeypatch):
    sizes = []
    cut = resampling._cut

    def watched(*arguments):
        sizes.append(cut(*arguments).shape)
        return cut(*arguments)

    monkeypatch.setattr(resampling, "_cut", watched)
    resample_rectangle(noise, Rectangle(-20, -2000, 80, 4000), 256, 256)
    assert sizes[0][0] <= 30 + 6 * 4000 / 256  # and not 4000
