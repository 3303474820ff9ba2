"""Pixels and depths become the millimetres they came from, through lens, crop, flip and augmentation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from integral_pose.contracts import CropViews, PoseBatch
from integral_pose.geometry.camera import CAMERA_IDS, human36m_camera
from integral_pose.geometry.coordinates import ImageVolume, root_relative
from integral_pose.geometry.crop import crop_c2f, crop_metric, crop_tight
from integral_pose.geometry.lifting import at_bone_length, at_root_depth, inverse_2x2, lift, mirror_views, move_views
from integral_pose.skeleton import HUMAN36M

SIDE, DEPTH_MM = 256, 2000.0
SPACE = ImageVolume(DEPTH_MM, SIDE, SIDE, HUMAN36M.root)
ORDER = list(HUMAN36M.flip_order)


def make_views(kind):
    """People before four cameras (float64): joints in mm from the root, in px of the crop, and the views."""
    rng = np.random.default_rng(3)
    poses, pixels, columns = [], [], []
    for camera_id in CAMERA_IDS:
        camera = human36m_camera("S9", camera_id)
        joints_mm = rng.uniform(-900, 900, (17, 3)) + rng.uniform([-900, -600, 4500], [900, 600, 6000])
        image_px = camera.camera_to_image_px(joints_mm)
        crop = {
            "c2f": lambda: crop_c2f(image_px, SIDE),  # noqa: B023
            "tight": lambda: crop_tight(image_px, SIDE),  # noqa: B023
            "metric": lambda: crop_metric(image_px[0], joints_mm[0, 2], camera.focal_px, SIDE),  # noqa: B023
        }[kind]()
        poses.append(joints_mm - joints_mm[0])
        pixels.append(crop.image_px_to_crop_px(image_px))
        lens = [*camera.focal_px, *camera.principal_px, *camera.radial, *camera.tangential]
        affine = [[crop.scale, 0, crop.left_px], [0, crop.scale, crop.top_px]]
        columns.append((lens, affine, joints_mm[0]))
    lens, affine, root = (torch.tensor(np.array(column)) for column in zip(*columns, strict=True))
    views = CropViews(lens, affine, root, torch.eye(3, dtype=torch.float64).repeat(4, 1, 1))
    return torch.tensor(np.array(poses)), torch.tensor(np.array(pixels)), views


def test_labels_of_a_pinhole_are_lifted_without_the_lens():
    camera_mm, _, views = make_views("c2f")
    space = dataclasses.replace(SPACE, undo_lens=False)
    absolute_mm = camera_mm + views.root_camera_mm[:, None]
    focal_px, middle_px = views.camera[:, None, :2], views.camera[:, None, 2:4]
    pinhole_px = absolute_mm[..., :2] / absolute_mm[..., 2:] * focal_px + middle_px
    scale = views.crop_to_image[:, None, [0, 1], [0, 1]]
    norm = space.encode(camera_mm, (pinhole_px - views.crop_to_image[:, None, :, 2]) / scale)
    assert (space.decode(norm, views) - camera_mm).abs().max() < 1e-6
    assert 2 < (SPACE.decode(norm, views) - camera_mm).norm(dim=-1).mean() < 20  # as it was
    children, parents = (list(ends) for ends in zip(*HUMAN36M.bones, strict=True))
    length_mm = (camera_mm[:, children] - camera_mm[:, parents]).norm(dim=-1).sum(-1)[0]
    placed = space.at_bone_length(norm, views, bones=HUMAN36M.bones, total_bone_length_mm=length_mm)
    assert placed.root_camera_mm[0, 2] == pytest.approx(views.root_camera_mm[0, 2].item(), abs=1)
    assert torch.equal(placed.camera, views.camera)


@pytest.mark.parametrize("kind", ["c2f", "tight", "metric"])
def test_encode_then_lift_gives_the_labels_back(kind):
    camera_mm, crop_px, views = make_views(kind)
    norm = SPACE.encode(camera_mm, crop_px)
    assert (SPACE.decode(norm, views) - camera_mm).abs().max() < 0.01
    in_float32 = SPACE.decode(norm.float(), views.map(torch.Tensor.float))
    assert (in_float32 - camera_mm).abs().max() < 0.05


def test_encoding_by_hand():
    norm = SPACE.encode(torch.tensor([[[5.0, 6, -500]]]), torch.tensor([[[64.0, 256]]]))
    assert norm.tolist() == [[[-0.25, 0.5, -0.25]]]
    with pytest.raises(ValueError, match="needs the joints in pixels of the crop"):
        SPACE.encode(torch.zeros(1, 1, 3))
    with pytest.raises(ValueError, match="needs the views of the crops to tell millimetres"):
        SPACE.decode(norm)


def test_a_pinhole_by_hand():
    """Crop pixel 100 is picture pixel 10 + 2 * 100, 0.21 of the focal length off the axis, 4 m + 1 m away."""
    camera = torch.tensor([[1000.0, 1000, 0, 0, 0, 0, 0, 0, 0]])
    views = CropViews(
        camera, torch.tensor([[[2.0, 0, 10], [0, 2, 20]]]), torch.tensor([[100.0, 0, 4000]]), torch.eye(3)[None]
    )
    found = lift(torch.tensor([[[100.0, 0]]]), torch.tensor([[1000.0]]), views)
    torch.testing.assert_close(found, torch.tensor([[[0.21 * 5000 - 100, 0.02 * 5000, 1000]]]))


def test_through_a_flip():
    camera_mm, crop_px, views = make_views("c2f")
    flipped_px = (crop_px * crop_px.new_tensor([-1, 1]) + crop_px.new_tensor([SIDE, 0]))[:, ORDER]
    flipped_mm = (camera_mm * camera_mm.new_tensor([-1, 1, 1]))[:, ORDER]
    found = SPACE.decode(SPACE.encode(flipped_mm, flipped_px), mirror_views(views, SIDE))
    assert (found - flipped_mm).abs().max() < 0.01
    # And back again, as the flip test does it.
    assert ((found * found.new_tensor([-1, 1, 1]))[:, ORDER] - camera_mm).abs().max() < 0.01


@pytest.mark.parametrize("stretch", [1.0, 1.3])
def test_through_shift_unequal_scale_and_turn(stretch):
    camera_mm, crop_px, views = make_views("metric")
    cosine, sine = np.cos(0.4), np.sin(0.4)
    turn = torch.tensor([[cosine, -sine], [sine, cosine]])
    axes = torch.block_diag(turn, torch.tensor([[stretch]]).double())
    moved = torch.cat([turn @ torch.diag(torch.tensor([1.2, 0.8]).double()), torch.tensor([[7.0], [-9]])], 1)
    moved, axes = moved.expand(4, 2, 3), axes.expand(4, 3, 3)
    changed_mm = camera_mm @ axes.mT
    changed_px = crop_px @ moved[:, :, :2].mT + moved[:, None, :, 2]
    found = SPACE.decode(SPACE.encode(changed_mm, changed_px), move_views(views, moved, axes))
    assert (found - changed_mm).abs().max() < 0.01


def test_the_predicted_root_is_subtracted():
    camera_mm, crop_px, views = make_views("c2f")
    norm = SPACE.encode(camera_mm, crop_px) + 0.01
    assert (SPACE.decode(norm, views)[:, 0] == 0).all()


def test_without_views_the_labels_tell_the_scale():
    camera_mm, _, _ = make_views("c2f")
    crop_px = camera_mm[..., :2] / 8 + 100  # a camera without perspective
    batch = PoseBatch(torch.arange(len(camera_mm)), torch.zeros(len(camera_mm), 3, 1, 1), camera_mm, crop_px)
    found = SPACE.decode_labelled(SPACE.encode(camera_mm, crop_px), batch)
    torch.testing.assert_close(found, root_relative(camera_mm, 0))


def test_inverse_by_hand():
    matrices = torch.tensor([[[2.0, 1], [0, 4]], [[0, 1], [1, 0]]])
    torch.testing.assert_close(inverse_2x2(matrices) @ matrices, torch.eye(2).expand(2, 2, 2))


def test_half_precision_of_the_network_leaves_the_lifting_alone():
    camera_mm, crop_px, views = make_views("c2f")
    norm, views = SPACE.encode(camera_mm, crop_px).float(), views.map(torch.Tensor.float)
    mirrored = norm * norm.new_tensor([-1, 1, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = SPACE.decode(norm, views)
        found_mirrored = SPACE.decode(mirrored, mirror_views(views, SIDE))
    assert found.dtype == torch.float32
    assert (found - camera_mm).abs().max() < 0.05  # in bfloat16 12 mm
    assert (found_mirrored - camera_mm * camera_mm.new_tensor([-1, 1, 1])).abs().max() < 0.05


def test_another_root_depth():
    camera_mm, crop_px, views = make_views("c2f")
    norm = SPACE.encode(camera_mm, crop_px)
    depth_mm = views.root_camera_mm[:, 2]
    assert (SPACE.decode(norm, at_root_depth(views, depth_mm)) - camera_mm).abs().max() < 0.01
    # Twice as far and twice as deep is the same picture of a person twice as large.
    twice = norm * norm.new_tensor([1, 1, 2])
    assert (SPACE.decode(twice, at_root_depth(views, 2 * depth_mm)) - 2 * camera_mm).abs().max() < 0.02
    everywhere = at_root_depth(views, 5000.0).root_camera_mm
    assert everywhere.tolist() == [[0, 0, 5000]] * 4


@pytest.mark.parametrize("stretch", [1.0, 1.3])
def test_the_root_depth_by_the_bones(stretch):
    """The true bones give the true depth, mirrored and stretched, wherever the network counts depths from."""
    camera_mm, crop_px, views = make_views("c2f")
    expected_mm = views.root_camera_mm[:, 2]
    axes = torch.diag(torch.tensor([1, 1, stretch]).double()).expand(4, 3, 3)
    views = move_views(mirror_views(views, SIDE), torch.eye(2, 3).expand(4, 2, 3), axes)
    mirrored_px = crop_px * crop_px.new_tensor([-1, 1]) + crop_px.new_tensor([SIDE, 0])
    for person in range(4):
        own = views.map(lambda tensor, at=person: tensor[at : at + 1])
        bones_mm = sum((camera_mm[person, a] - camera_mm[person, b]).norm().item() for a, b in HUMAN36M.bones)
        off_mm = 70.0  # of the predicted root from the true one
        joints = mirrored_px[person : person + 1], (camera_mm[person : person + 1, :, 2] + off_mm) * stretch
        found = at_bone_length(*joints, own, HUMAN36M.bones, bones_mm, 0)
        torch.testing.assert_close(found.root_camera_mm[0, 2], expected_mm[person] - off_mm, atol=0.01, rtol=0)
        found_mm = root_relative(lift(*joints, found), 0)[0]
        assert (found_mm - camera_mm[person] * camera_mm.new_tensor([-1, 1, stretch])).abs().max() < 0.05
