"""Random changes: fixed by their key, independent of each other, and labels that move with the picture."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from integral_pose.config.schema import AugmentationConfig
from integral_pose.contracts import PoseSample, SampleKey
from integral_pose.data.augmentation import ImgaugAugmentation, build_augmentation, stream_seed
from integral_pose.errors import ConfigError

SIDE = 96
STILL = {
    "translate_percent": [0, 0], "scale": [1, 1], "hue_saturation": [0, 0], "contrast": [1, 1], "brightness": [1, 1],
}  # fmt: skip
USUAL = {
    "translate_percent": [-0.05, 0.05], "scale": [0.75, 1.25], "hue_saturation": [-60, 60],
    "contrast": [0.7, 1.3], "brightness": [0.5, 1.5],
}  # fmt: skip


def make_sample(image=None, joints_crop_px=((48.0, 48.0),)):
    if image is None:
        image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    joints_camera_mm = np.arange(6, dtype=np.float32).reshape(2, 3)
    return PoseSample(7, image, joints_camera_mm, np.array(joints_crop_px, np.float32))


def augment(key=(0, 0), sample=None, seed=0, **ranges):
    return ImgaugAugmentation(seed=seed, **(STILL | ranges))(sample or make_sample(), SampleKey(*key))


def grey():
    return make_sample(np.full((SIDE, SIDE, 3), 120, np.uint8))


def test_ranges_of_no_change_change_nothing():
    sample = make_sample()
    before = sample.image.copy()
    found = augment(sample=sample)
    assert np.abs(found.image.astype(int) - before).mean() < 1  # through the colour space and back
    np.testing.assert_allclose(found.joints_crop_px, sample.joints_crop_px, atol=1e-4)


def test_the_sample_itself_stays_as_it_was():
    sample = make_sample()
    before = sample.image.copy(), sample.joints_crop_px.copy()
    found = augment(sample=sample, **USUAL)
    np.testing.assert_array_equal(sample.image, before[0])
    np.testing.assert_array_equal(sample.joints_crop_px, before[1])
    assert found.index == 7
    np.testing.assert_array_equal(found.joints_camera_mm, sample.joints_camera_mm)
    assert found.image.dtype == np.uint8
    assert found.joints_crop_px.dtype == np.float32


def test_same_key_same_picture_whatever_came_before():
    one, other = (ImgaugAugmentation(seed=3, **USUAL) for _ in range(2))
    other(make_sample(), SampleKey(5, 5))
    np.random.seed(9)  # noqa: NPY002 - the global generator must not matter
    first, second = (augmentation(make_sample(), SampleKey(2, 4)) for augmentation in (one, other))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.joints_crop_px, second.joints_crop_px)
    np.testing.assert_array_equal(one(make_sample(), SampleKey(2, 4)).image, first.image)


@pytest.mark.parametrize(("key", "seed"), [((2, 5), 3), ((3, 4), 3), ((2, 4), 4), ((4, 2), 3)])
def test_another_key_or_seed_another_picture(key, seed):
    assert (augment((2, 4), seed=3, **USUAL).image != augment(key, seed=seed, **USUAL).image).mean() > 0.5


def test_every_stream_has_a_seed_of_its_own():
    seeds = {stream_seed(s, SampleKey(e, r), i) for s in range(3) for e in range(3) for r in range(3) for i in range(4)}
    assert len(seeds) == 108
    assert max(seeds) >= 2**120


CHANGES = {
    "translate_percent": [0.1, 0.1], "hue_saturation": [-9, 9], "contrast": [0.7, 1.3], "brightness": [0.5, 1.5],
}  # fmt: skip


@pytest.mark.parametrize("changed", ["translate_percent", "hue_saturation", "contrast"])
def test_an_augmenters_range_leaves_the_draws_of_the_others(changed):
    """On grey the last augmenter's factors can be read off the middle pixel, whatever the others do."""
    plain = augment((1, 2), grey(), brightness=[0.5, 1.5])
    other = augment((1, 2), grey(), brightness=[0.5, 1.5], **{changed: CHANGES[changed]})
    expected = plain.image[48, 48].astype(float)
    level = augment((1, 2), grey(), **{changed: CHANGES[changed]}).image[48, 48].astype(float)
    np.testing.assert_allclose(other.image[48, 48] / level, expected / 120, atol=0.02)
    assert len(set(expected)) == 3  # each channel by itself


def test_no_two_augmenters_share_their_draws():
    """Shift and contrast as drawn for 30 samples are unrelated."""
    draws = []
    for row in range(30):
        sample = grey()
        sample.image[:] = 200
        found = augment((0, row), sample, translate_percent=[-0.2, 0.2], contrast=[0.8, 1.2])
        draws.append((*(found.joints_crop_px[0] - 48), float(found.image[48, 48, 0])))
    correlation = np.corrcoef(np.array(draws).T)
    assert np.abs(correlation[np.triu_indices(3, 1)]).max() < 0.6
    assert np.std(draws, axis=0).min() > 1


@pytest.mark.parametrize("row", range(12))
def test_joints_move_with_the_picture(row):
    """A bright dot on the joint is found at the joint after shift and zoom, to a fraction of a pixel."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    joint = np.array([30.0 + row * 3, 60.0 - row])
    dot = np.exp(-((x - joint[0]) ** 2 + (y - joint[1]) ** 2) / 18)
    image = (255 * dot).round().astype(np.uint8)[..., None].repeat(3, -1)
    found = augment((0, row), make_sample(image, [joint, joint + 5]), translate_percent=[-0.1, 0.1], scale=[0.75, 1.25])
    light = found.image[..., 0].astype(float)
    centre = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
    assert np.abs(centre - found.joints_crop_px[0]).max() < 0.25
    assert np.abs(found.joints_crop_px[0] - joint).max() > 0.3


def test_the_literal_constant_is_a_constant_shift():
    for row in range(3):
        found = augment((0, row), translate_percent=[0.05, 0.05])
        np.testing.assert_allclose(found.joints_crop_px - 48, [[0.05 * SIDE, 0.05 * SIDE]], atol=0.51)


def test_ranges_are_reached_on_both_sides_and_axes_are_independent():
    shifts = np.array([augment((0, row), translate_percent=[-0.25, 0.25]).joints_crop_px[0] - 48 for row in range(40)])
    assert (shifts.min(0) < -12).all()
    assert (shifts.max(0) > 12).all()
    assert np.abs(shifts).max() <= 24.51
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.6
    zooms = np.array(
        [
            augment((0, row), make_sample(joints_crop_px=[[8, 8], [88, 88]]), scale=[0.75, 1.25]).joints_crop_px
            for row in range(40)
        ]
    )
    factors = (zooms[:, 1] - zooms[:, 0]) / 80
    assert 0.75 - 1e-4 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= 1.25 + 1e-4
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.6


def test_joints_without_labels_stay_unknown():
    found = augment(sample=make_sample(joints_crop_px=np.full((2, 2), np.nan)), **USUAL)
    assert np.isnan(found.joints_crop_px).all()


def test_built_from_the_configuration():
    assert build_augmentation(AugmentationConfig(backend="none"), 0) is None
    built = build_augmentation(AugmentationConfig(), 5)(make_sample(), SampleKey(1, 1))
    np.testing.assert_array_equal(built.image, augment((1, 1), seed=5, **USUAL).image)


def test_without_imgaug(monkeypatch):
    monkeypatch.setitem(sys.modules, "imgaug", None)
    assert build_augmentation(AugmentationConfig(backend="none"), 0) is None
    with pytest.raises(ConfigError, match=r"imgaug: the package cannot be imported \(.*\); install its maintained fork "
                       "with 'pip install imaug', or set data.augmentation.backend to none"):  # fmt: skip
        build_augmentation(AugmentationConfig(), 0)
