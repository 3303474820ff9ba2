"""Augmentation of whole batches: what imgaug does with the same numbers, and labels that follow."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from conftest import draw_image

from integral_pose.config.augmentation_section import AugmentationConfig
from integral_pose.contracts import PoseBatch
from integral_pose.data import augmentation
from integral_pose.data import device_augmentation as device
from integral_pose.data.augmentation import build_augmentation, build_device_augmentation
from integral_pose.data.draws import draw_uniform, integer_in_range
from integral_pose.skeleton import HUMAN36M

SIDE = 128
STILL = device.DeviceAugmentation(
    seed=1, translate_percent=[0, 0], scale=[1, 1], hue_saturation=[0, 0], contrast=[1, 1], brightness=[1, 1],
    rotation=[0, 0], rotation_share=1.0, flip=0.0, desaturation=[0, 0], blur_px=[0, 0], erase=0.0, scale_depth=False,
    flip_order=HUMAN36M.flip_order,
)  # fmt: skip
USUAL = dataclasses.replace(
    STILL, translate_percent=[-0.05, 0.05], scale=[0.75, 1.25], hue_saturation=[-60, 60], contrast=[0.7, 1.3],
    brightness=[0.5, 1.5],
)  # fmt: skip


def make_batch(augmentation, number=4, height=SIDE, width=SIDE, epoch=0):
    rng = np.random.default_rng(0)
    images = np.stack([draw_image(max(height, width), rng)[:height, :width] for _ in range(number)])
    return PoseBatch(
        indices=torch.arange(number),
        images=torch.from_numpy(images).permute(0, 3, 1, 2),
        joints_camera_mm=torch.from_numpy(rng.normal(0, 300, (number, 17, 3)).astype(np.float32)),
        joints_crop_px=torch.from_numpy(rng.uniform(10, 100, (number, 17, 2)).astype(np.float32)),
        changes=augmentation.draw(epoch, np.arange(number)),
    )


def test_equal_to_imgaug_on_the_same_numbers():
    """At most 2 grey levels on 99.5 % of the pixels, joints to 0.05 px."""
    from imgaug import augmenters
    from imgaug.augmentables.kps import KeypointsOnImage

    before = make_batch(USUAL, 12)
    after = USUAL(before)
    for i, change in enumerate(before.changes.double().numpy()):
        affine = augmenters.Affine(
            translate_percent={"x": change[0], "y": change[1]}, scale={"x": change[2], "y": change[3]}
        )
        image = before.images[i].permute(1, 2, 0).numpy().copy()
        keypoints = KeypointsOnImage.from_xy_array(before.joints_crop_px[i].numpy(), shape=image.shape)
        image, keypoints = affine(image=image, keypoints=keypoints)
        image = augmenters.AddToHueAndSaturation(int(change[device.SATURATION])).augment_image(image)
        image = augmenters.LinearContrast(change[device.CONTRAST]).augment_image(image)
        image = augmenters.arithmetic.multiply_scalar(image, change[device.BRIGHTNESS])
        distance = np.abs(image.astype(int) - after.images[i].permute(1, 2, 0).numpy()).max(-1)
        assert (distance <= 2).mean() >= 0.995
        assert np.abs(keypoints.to_xy_array() - after.joints_crop_px[i].numpy()).max() < 0.05
    assert len(np.unique(before.changes[:, device.SATURATION])) > 4
    assert after.images.dtype == torch.uint8
    assert after.changes is None  # a second call changes nothing more
    assert torch.equal(after.joints_camera_mm, before.joints_camera_mm)


def test_ranges_of_no_change_change_nothing():
    before = make_batch(STILL)
    after = STILL(before)
    assert (after.images.int() - before.images.int()).abs().max() <= 5  # through OpenCV's 8-bit hue and back
    torch.testing.assert_close(after.joints_crop_px, before.joints_crop_px, rtol=0, atol=1e-4)
    assert torch.equal(after.joints_camera_mm, before.joints_camera_mm)


def test_draws_depend_on_seed_epoch_and_row_alone():
    rows = np.array([5, 9, 2])
    changes = USUAL.draw(3, rows)
    assert torch.equal(USUAL.draw(3, np.array([2]))[0], changes[2])  # whatever else is in the batch
    for other in (USUAL.draw(4, rows), USUAL.draw(3, rows + 1), dataclasses.replace(USUAL, seed=2).draw(3, rows)):
        assert not torch.isclose(other, changes).all(1).any()
    no_shift = dataclasses.replace(USUAL, translate_percent=[0, 0], flip=0.5)
    assert torch.equal(no_shift.draw(3, rows)[:, 6:12], changes[:, 6:12])  # other ranges leave the rest alone


def test_draws_are_uniform_and_unrelated():
    draws = np.concatenate([draw_uniform(7, epoch, np.arange(4000), 2, 3) for epoch in (0, 1)], axis=1)
    counts = np.array([np.histogram(column, 10, (0, 1))[0] for column in draws.T])
    assert np.abs(counts - 400).max() < 100
    correlation = np.corrcoef(np.concatenate([draws, np.roll(draws, 1, axis=0)], axis=1).T)
    assert np.abs(correlation[np.triu_indices(len(correlation), 1)]).max() < 0.08
    assert set(integer_in_range(draws[:, 0], [-2, 2])) == {-2, -1, 0, 1, 2}


def test_flip_by_hand():
    flip = dataclasses.replace(STILL, flip=1.0)
    before = make_batch(flip)
    after = flip(before)
    assert (after.images.int() - STILL(make_batch(STILL)).images.flip(-1).int()).abs().max() == 0
    order = list(HUMAN36M.flip_order)
    assert torch.equal(after.joints_camera_mm, before.joints_camera_mm[:, order] * torch.tensor([-1.0, 1, 1]))
    expected = before.joints_crop_px[:, order] * torch.tensor([-1.0, 1]) + torch.tensor([SIDE, 0.0])
    torch.testing.assert_close(after.joints_crop_px, expected)


def test_a_flip_mirrors_what_would_have_been_without_it():
    moving = dataclasses.replace(STILL, translate_percent=[-0.1, 0.1], scale=[0.75, 1.25], rotation=[-30, 30])
    flip = dataclasses.replace(moving, flip=1.0)
    straight, mirrored = moving(make_batch(moving)), flip(make_batch(flip))
    expected = straight.joints_crop_px[:, list(HUMAN36M.flip_order)] * torch.tensor([-1.0, 1])
    torch.testing.assert_close(mirrored.joints_crop_px, expected + torch.tensor([SIDE, 0.0]), rtol=0, atol=1e-3)
    assert (mirrored.images.int() - straight.images.flip(-1).int()).abs().float().mean() < 1


def test_a_quarter_turn_by_hand():
    """Clockwise: what was at the right is at the bottom, in the picture and in the labels."""
    turn = dataclasses.replace(STILL, rotation=[90, 90])
    before = make_batch(turn)
    after = turn(before)
    straight = STILL(make_batch(STILL)).images
    assert (after.images.int() - straight.rot90(-1, (2, 3)).int()).abs().float().mean() < 0.5
    x, y, z = before.joints_camera_mm.unbind(-1)
    torch.testing.assert_close(after.joints_camera_mm, torch.stack([-y, x, z], -1), rtol=0, atol=1e-3)
    u, v = before.joints_crop_px.unbind(-1)
    torch.testing.assert_close(after.joints_crop_px, torch.stack([SIDE - v, u], -1), rtol=0, atol=1e-3)


def test_a_share_is_turned_and_the_others_are_as_they_were():
    some = dataclasses.replace(STILL, rotation=[-90, 90], rotation_share=0.3)
    rows, all_of_them = np.arange(2000), dataclasses.replace(some, rotation_share=1.0)
    angles, whole = (each.draw(3, rows)[:, device.ROTATION] for each in (some, all_of_them))
    assert 0.27 < (angles != 0).float().mean() < 0.33
    assert torch.equal(angles[angles != 0], whole[angles != 0])
    assert whole.min() < -1.5 < 1.5 < whole.max()


@pytest.mark.parametrize("size", [(SIDE, SIDE), (SIDE, 96)])
def test_joints_move_with_the_picture(size):
    """A bright dot on a joint is found at the joint after all that moves."""
    height, width = size
    moving = dataclasses.replace(STILL, translate_percent=[-0.1, 0.1], scale=[0.75, 1.25], rotation=[-40, 40], flip=0.5)
    batch = make_batch(moving, 8, height, width)
    joint = HUMAN36M.names.index("Head")  # has no mirror image
    batch.joints_crop_px[:, joint] = torch.stack([torch.linspace(30, 60, 8), torch.linspace(70, 40, 8)], -1)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    u, v = batch.joints_crop_px[:, joint, :, None, None].unbind(1)
    dots = 255 * torch.exp(-((x - u) ** 2 + (y - v) ** 2) / 18)
    batch.images = dots.round().to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    after = moving(batch)
    light = after.images[:, 0].double()
    total = light.sum((1, 2))
    centre = torch.stack([(light * x).sum((1, 2)) / total, (light * y).sum((1, 2)) / total], -1)
    assert (centre - after.joints_crop_px[:, joint]).abs().max() < 0.3
    assert 0 < batch.changes[:, device.FLIP].sum() < 8


def test_erasing():
    erase = dataclasses.replace(STILL, erase=1.0)
    before = make_batch(erase, 16)
    after, straight = erase(before).images, STILL(make_batch(STILL, 16)).images
    shares = []
    for i, change in enumerate(before.changes):
        left, top, right, bottom = (change[device.ERASED] * SIDE).tolist()
        inside = after[i, :, int(top) + 1 : int(bottom), int(left) + 1 : int(right)]
        assert (inside == change[device.ERASED_COLOUR].to(torch.uint8)[:, None, None]).all()
        assert torch.equal(after[i, :, : int(top)], straight[i, :, : int(top)])
        shares.append((right - left) * (bottom - top) / SIDE**2)
    assert min(shares) >= 0.02 - 1e-3
    assert max(shares) <= 0.2 + 1e-3
    assert 0 < dataclasses.replace(STILL, erase=0.5).draw(0, np.arange(50))[:, 14].count_nonzero() < 50


def test_depth_grows_with_the_picture_where_wanted():
    scaling = dataclasses.replace(STILL, scale=[0.5, 2.0], scale_depth=True)
    before = make_batch(scaling)
    factor = before.changes[:, device.SCALE].prod(-1).sqrt()
    after = scaling(before)
    torch.testing.assert_close(after.joints_camera_mm[..., 2], before.joints_camera_mm[..., 2] * factor[:, None])
    assert torch.equal(after.joints_camera_mm[..., :2], before.joints_camera_mm[..., :2])


def test_built_from_the_configuration():
    config = AugmentationConfig(backend="device", flip=0.5)
    assert build_augmentation(config, 5, HUMAN36M.flip_order) is None
    built = build_device_augmentation(config, 5, HUMAN36M.flip_order)
    assert (built.seed, built.flip, built.scale) == (5, 0.5, [0.75, 1.25])
    assert build_device_augmentation(AugmentationConfig(), 5, HUMAN36M.flip_order) is None


@pytest.mark.parametrize(
    ("backend", "name", "value", "instead"),
    [
        ("imgaug", "rotation", [-1.0, 1.0], "device"), ("device", "jpeg", [0, 50], "imgaug"),
        ("none", "flip", 0.5, "imgaug or device"), ("none", "desaturation", [0.0, 1.0], "imgaug or device"),
        ("none", "blur_px", [0.0, 1.0], "imgaug or device"), ("none", "erase", 0.1, "imgaug or device"),
    ],
)  # fmt: skip
def test_what_a_backend_does_not_do(backend, name, value, instead):
    with pytest.raises(
        ValueError, match=f"{name} is .*, which backend '{backend}' does not use; set backend to {instead}"
    ):
        AugmentationConfig(backend=backend, **{name: value})


@pytest.mark.parametrize("name", ["desaturation", "blur_px"])
def test_pixels_change_as_in_the_imgaug_backend(name):
    """To a level within 6 px of the border, beyond which each has its own idea of what is there."""
    changing = dataclasses.replace(STILL, **{name: [0, 1]})
    before, still = make_batch(changing, 6), make_batch(STILL, 6)
    before.images = still.images = torch.from_numpy(  # details of 4 px
        np.random.default_rng(2).integers(0, 256, (6, 3, 32, 32), np.uint8).repeat(4, -1).repeat(4, -2)
    )
    straight, after = STILL(still).images, changing(before).images
    column = {"desaturation": device.DESATURATION, "blur_px": device.BLUR}[name]
    for image, found, drawn in zip(straight, after, before.changes[:, column].tolist(), strict=True):
        change = augmentation.PIXEL_AUGMENTERS[name].change
        expected = change(image.permute(1, 2, 0).numpy(), [drawn, drawn], np.zeros(1)).astype(int)
        distance = np.abs(expected - found.permute(1, 2, 0).numpy())[6:-6, 6:-6]
        assert distance.max() <= 2
        assert (distance <= 1).mean() > 0.99
    assert (after.int() - straight.int()).abs().float().mean() > 1
    assert len(before.changes[:, column].unique()) == 6


def test_grey_and_flat_pictures_on_the_device():
    images = torch.tensor([200, 100, 50], dtype=torch.uint8)[None, :, None, None].repeat(3, 1, 8, 8)
    found = device.desaturate(images, torch.tensor([0, 0.5, 1.0]))[:, :, 3, 5]
    assert found.tolist() == [[200, 100, 50], [162, 112, 87], [124, 124, 124]]
    assert torch.equal(device.blur(images, torch.tensor([0, 0.5, 9.0]), 9.0), images)


def blur_plainly(images: torch.Tensor, sigma_px: torch.Tensor) -> torch.Tensor:
    """Row i of a dense matrix has the weights of all pixels in blurred pixel i."""

    def rows(length: int) -> torch.Tensor:
        at = torch.arange(length, dtype=torch.float64)
        weights = torch.exp(-0.5 * ((at[:, None] - at) / sigma_px.clamp(min=1e-3)[:, None, None]) ** 2)
        return (weights / weights.sum(-1, keepdim=True))[:, None]

    along_y, along_x = (rows(length) for length in images.shape[-2:])
    return along_y @ images.double() @ along_x.mT


@pytest.mark.parametrize("sigmas_px", [(0.0, 0.3, 0.7), (0.2, 2.5, 6.0)])
def test_blur_is_the_dense_matrix_of_gaussians(sigmas_px):
    images = torch.from_numpy(np.random.default_rng(4).integers(0, 256, (3, 3, 24, 20), np.uint8))
    sigmas = torch.tensor(sigmas_px)
    found = device.blur(images, sigmas, sigmas_px[-1])
    torch.testing.assert_close(found.double(), blur_plainly(images, sigmas), atol=0.51, rtol=0)
    assert torch.equal(device.blur(images.to(memory_format=torch.channels_last), sigmas, sigmas_px[-1]), found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_does_the_same():
    changing = dataclasses.replace(USUAL, rotation=[-30, 30], flip=0.5, desaturation=[0, 1], blur_px=[0, 2], erase=0.5)
    batch = make_batch(changing, 8)
    here, there = changing(batch), changing(batch.to(torch.device("cuda"))).to(torch.device("cpu"))
    assert ((here.images.int() - there.images.int()).abs() <= 2).float().mean() >= 0.995
    torch.testing.assert_close(here.joints_crop_px, there.joints_crop_px, rtol=0, atol=1e-2)
