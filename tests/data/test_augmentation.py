"""Random changes: fixed by their key, independent of each other, and labels that move with the picture."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from integral_pose.config.augmentation_section import AugmentationConfig
from integral_pose.contracts import PoseSample, SampleKey
from integral_pose.data import augmentation, draws
from integral_pose.data.augmentation import (
    ImgaugAugmentation,
    build_augmentation,
    build_device_augmentation,
    mirror,
    stream_seed,
)
from integral_pose.errors import ConfigError
from integral_pose.skeleton import HUMAN36M

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
    assert build_augmentation(AugmentationConfig(backend="none"), 0, ()) is None
    built = build_augmentation(AugmentationConfig(), 5, ())(make_sample(), SampleKey(1, 1))
    np.testing.assert_array_equal(built.image, augment((1, 1), seed=5, **USUAL).image)


def test_without_imgaug(monkeypatch):
    monkeypatch.setitem(sys.modules, "imgaug", None)
    assert build_augmentation(AugmentationConfig(backend="none"), 0, ()) is None
    with pytest.raises(ConfigError, match=r"imgaug: the package cannot be imported \(.*\); install its maintained fork "
                       "with 'pip install imaug', or set data.augmentation.backend to none"):  # fmt: skip
        build_augmentation(AugmentationConfig(), 0, ())


# The augmenters that are off by default.

ORDER = HUMAN36M.flip_order
ALL_ON = {"flip": 0.5, "desaturation": [0, 1], "blur_px": [0, 1.5], "erase": 0.5, "jpeg": [5, 70]}


def make_person():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    joints_camera_mm = rng.integers(-900, 900, (17, 3)).astype(np.float32)
    return PoseSample(3, image, joints_camera_mm, rng.integers(0, SIDE, (17, 2)).astype(np.float32))


def test_a_flip_by_hand():
    """The left wrist takes the place that the right one has in the mirror, exactly, and the picture is mirrored."""
    person = make_person()
    left, right = (HUMAN36M.names.index(name) for name in ("LWrist", "RWrist"))
    person.joints_camera_mm[right], person.joints_camera_mm[left] = [100, 20, 30], [-70, 50, 60]
    person.joints_crop_px[right], person.joints_crop_px[left] = [40, 10], [76, 20]
    plain, found = (augment(sample=person, flip=flip, flip_order=ORDER) for flip in (0.0, 1.0))
    assert found.joints_camera_mm[left].tolist() == [-100, 20, 30]
    assert found.joints_camera_mm[right].tolist() == [70, 50, 60]
    np.testing.assert_allclose(found.joints_crop_px[[left, right]], [[56, 10], [20, 20]], atol=1e-4)
    np.testing.assert_array_equal(found.image, plain.image[:, ::-1])
    np.testing.assert_allclose(found.moved, [[-1, 0, SIDE], [0, 1, 0]], atol=1e-5)
    np.testing.assert_array_equal(found.label_axes, np.diag([-1, 1, 1]))
    assert person.joints_camera_mm[right].tolist() == [100, 20, 30]  # the sample itself stays as it was


def test_a_flip_mirrors_what_would_have_been_without_it():
    for row in range(4):
        plain, found = (
            augment((0, row), make_person(), flip=flip, flip_order=ORDER, scale_depth=True, **USUAL)
            for flip in (0.0, 1.0)
        )
        np.testing.assert_array_equal(found.image, plain.image[:, ::-1])
        np.testing.assert_array_equal(found.joints_camera_mm, plain.joints_camera_mm[list(ORDER)] * [-1, 1, 1])
        expected_px = plain.joints_crop_px[list(ORDER)] * [-1, 1] + [SIDE, 0]
        np.testing.assert_allclose(found.joints_crop_px, expected_px, atol=1e-4)
        np.testing.assert_array_equal(found.label_axes, plain.label_axes * [[-1], [1], [1]])
        before = make_person().joints_crop_px[list(ORDER)]
        np.testing.assert_allclose(before @ found.moved[:, :2].T + found.moved[:, 2], found.joints_crop_px, atol=1e-3)


def test_two_flips_are_none():
    person = augment(sample=make_person())
    twice = mirror(mirror(person, ORDER), ORDER)
    np.testing.assert_array_equal(twice.image, person.image)
    np.testing.assert_array_equal(twice.joints_camera_mm, person.joints_camera_mm)
    np.testing.assert_allclose(twice.joints_crop_px, person.joints_crop_px, atol=1e-4)
    np.testing.assert_allclose(twice.moved, person.moved, atol=1e-4)
    np.testing.assert_array_equal(twice.label_axes, person.label_axes)


def test_desaturation_by_hand():
    """Grey of (200, 100, 50) is 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2."""
    image = np.full((4, 4, 3), (200, 100, 50), np.uint8)
    for share, expected in ((1, [124, 124, 124]), (0.5, [162, 112, 87]), (0, [200, 100, 50])):
        found = augmentation.desaturate(image, [share, share], np.array([0.3]))
        assert found[1, 2].tolist() == expected
    grey = augment(sample=make_person(), desaturation=[1, 1], brightness=[0.5, 1.5]).image
    assert (grey == grey[..., :1]).all()


def test_blur_by_hand():
    """Across an edge a Gaussian leaves its distribution function: 0.5987 at a quarter of sigma, 0.7734 at three."""
    edge = np.zeros((32, 32, 3), np.uint8)
    edge[:, 16:] = 255
    found = augmentation.blur(edge, [1, 3], np.array([0.5]))[16, :, 0].astype(float)
    np.testing.assert_allclose(found[[16, 17, 15, 14]] / 255, [0.5987, 0.7734, 0.4013, 0.2266], atol=0.01)
    np.testing.assert_array_equal(augmentation.blur(edge, [0, 3], np.array([0.0])), edge)
    assert edge[0].max() == 255
    assert edge[0, 15, 0] == 0  # not in place


@pytest.mark.parametrize(("drawn", "share"), [(0.0, 0.02), (0.5, 0.11), (0.999999, 0.2)])
def test_a_rectangle_covers_the_stated_share(drawn, share):
    image = np.full((200, 200, 3), 255, np.uint8)
    found = augmentation.erase(image, 1.0, np.array([0.9, drawn, 0.5, 0.2, 0.7, 0.1, 0.2, 0.3]))
    is_erased = (found == [25, 51, 76]).all(-1)
    assert is_erased.mean() == pytest.approx(share, abs=0.003)
    rows, columns = np.flatnonzero(is_erased.any(1)), np.flatnonzero(is_erased.any(0))
    assert is_erased.sum() == len(rows) * len(columns)  # one rectangle
    assert (found[~is_erased] == 255).all()
    assert abs(len(rows) - len(columns)) <= 1  # the middle of the aspects is a square
    assert rows[0] == pytest.approx(0.7 * (200 - len(rows)), abs=1)
    assert augmentation.erase(image, 0.9, np.array([0.9, drawn, 0.5, 0.2, 0.7, 0.1, 0.2, 0.3])) is image


def test_jpeg_loses_more_with_more_compression():
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.stack([x + y, 2 * x, 255 - 2 * y], -1).astype(np.uint8)
    image[30:60, 20:70] = (250, 20, 20)
    distances = [
        np.abs(augmentation.compress_jpeg(image, [c, c], np.array([0.4])).astype(int) - image).mean()
        for c in (5, 50, 90)
    ]
    assert 0 < distances[0] < distances[1] < distances[2] < 20
    sampled = augmentation.compress_jpeg(image, [20, 60], np.array([0.99]))
    np.testing.assert_array_equal(sampled, augmentation.compress_jpeg(image, [60, 60], np.array([0.0])))


def test_settings_of_nothing_do_nothing_and_draw_nothing(monkeypatch):
    off = {"flip": 0.0, "desaturation": [0.0, 0.0], "blur_px": [0.0, 0.0], "erase": 0.0, "jpeg": [0, 0]}
    expected = augment((1, 2), make_person(), **USUAL)
    monkeypatch.setattr(augmentation, "draw_uniform", None)
    found = augment((1, 2), make_person(), **USUAL, **off)
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.joints_camera_mm, expected.joints_camera_mm)


@pytest.mark.parametrize("absent", ALL_ON)
def test_one_of_them_more_leaves_the_draws_of_the_others(absent, monkeypatch):
    drawn = {}

    def record(seed, epoch, rows, stream, number):
        drawn.setdefault(stream, []).append(draws.draw_uniform(seed, epoch, rows, stream, number).tolist())
        return draws.draw_uniform(seed, epoch, rows, stream, number)

    monkeypatch.setattr(augmentation, "draw_uniform", record)
    augment((2, 5), make_person(), flip_order=ORDER, **USUAL, **ALL_ON)
    everything = dict(drawn)
    drawn.clear()
    augment((2, 5), make_person(), flip_order=ORDER, **USUAL, **(ALL_ON | {absent: 0.0}))
    assert len(everything) == 5
    assert len({value[0][0][0] for value in everything.values()}) == 5  # no stream has the draws of another
    own = everything.keys() - drawn.keys()
    assert own == {getattr(draws, absent.removesuffix("_px").upper())}
    assert drawn == {stream: value for stream, value in everything.items() if stream not in own}


def test_both_backends_draw_the_same_flips_and_rectangles():
    settings = STILL | {"flip": 0.5, "erase": 1.0}
    on_device = build_device_augmentation(AugmentationConfig(backend="device", **settings), 4, ORDER)
    here = build_augmentation(AugmentationConfig(**settings), 4, ORDER)
    changes = on_device.draw(3, np.arange(20)).numpy()
    for row, change in enumerate(changes):
        found = here(grey(), SampleKey(3, row)) if not change[5] else here(make_person(), SampleKey(3, row))
        assert (found.moved[0, 0] < 0) == bool(change[5])
        x, y = ((change[12:14] + change[14:16]) / 2 * SIDE).astype(int)
        np.testing.assert_array_equal(found.image[y, x], change[16:19])
    assert 0 < changes[:, 5].sum() < 20
