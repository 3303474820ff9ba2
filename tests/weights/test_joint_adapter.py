"""`test` on a model file of another project: its joints, pixels, shape of crop and depth, on our data sets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from integral_pose import experiment
from integral_pose.errors import ConfigError, DataError
from integral_pose.evaluation.predictions_csv import read_predictions_csv
from integral_pose.io.images import decode_crop
from integral_pose.skeleton import HUMAN36M, Skeleton
from integral_pose.weights.formats import CHECKPOINT_FORMATS, HUMAN36M_18, MPII_16, MUCO_21
from integral_pose.weights.importing import import_checkpoint
from integral_pose.weights.joint_adapter import crop_notice, crop_scale, joints_in_common, margins_px
from integral_pose.weights.stored_network import configuration_of, read_network
from tests.weights.originals import make_original, save_original, voxels

CPU = ["trainer.device=cpu", "data.workers=0", "data.stored_size=64"]
CAMERA = [1150.0, 1140.0, 500.0, 505.0, 0, 0, 0, 0, 0]  # a pinhole
CORNER_PX, PX_PER_CROP_PX, ROOT_MM = (300.0, 250.0), 6.0, (100.0, -200.0, 5000.0)
MUCO_TO_OFFICIAL = [14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4]


@pytest.fixture
def seen_root(own_course_root):
    """A data set that says how its 5 test crops were seen."""
    with h5py.File(own_course_root / "annot/valid.h5", "a") as file:
        file["camera"] = np.tile(CAMERA, (5, 1))
        file["crop_to_image"] = np.tile([*CORNER_PX, PX_PER_CROP_PX], (5, 1))
        file["root_camera_mm"] = np.tile(ROOT_MM, (5, 1))
    return own_course_root


def stored_images(root, side):
    """(5, 3, side, side) float."""
    names = (root / "annot/valid_images.txt").read_text().split()
    pixels = np.empty((5, side, side, 3), np.uint8)
    for at, name in enumerate(names):
        decode_crop((root / "images" / name).read_bytes(), 64, pixels[at])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


def imported(tmp_path, source, at, depth, size):
    form = dataclasses.replace(CHECKPOINT_FORMATS[source][at], depth=depth, image_size=size)
    net = make_original(source, "resnet18", [6], form.skeleton.num_joints, depth)
    file = save_original(tmp_path / "a.pth", net, container="network")
    return net, import_checkpoint((form,), "test", file, tmp_path / "model" / "m.pt").path


@pytest.mark.parametrize(("at", "flip"), [(0, False), (1, False), (1, True)])
def test_crop_pixels_and_depth_are_lifted_and_joints_found_by_name(at, flip, seen_root, tmp_path):
    net, path = imported(tmp_path, "posenet", at, 5, (96, 96))
    result = experiment.test(path, [f"data.root={seen_root}", *CPU, f"evaluation.flip={str(flip).lower()}"])
    assert result.predictions_csv == tmp_path / f"model/predictions-m-{seen_root.name}.csv"
    assert result.scores.num_samples == 5
    order = MUCO_TO_OFFICIAL if at else list(range(17))
    images = stored_images(seen_root, 96)
    expected_mm = lifted_mm(voxels("posenet", net, images, [18, 21][at]))[:, order]
    if flip:
        mirrored = voxels("posenet", net, images.flip(-1), [18, 21][at])
        mirrored[..., 0] = 6 - mirrored[..., 0]  # index i is px 16 i of 96
        expected_mm = (expected_mm + lifted_mm(mirrored)[:, order][:, list(HUMAN36M.flip_order)]) / 2
    found_mm = torch.from_numpy(read_predictions_csv(result.predictions_csv, HUMAN36M)).double()
    assert (found_mm - (expected_mm - expected_mm[:, :1])).abs().max() < 0.02


def lifted_mm(index):
    """Indices of 6 x 6 x 5 cells -> crop px -> picture px -> camera mm, as the others write it."""
    picture_px = [CORNER_PX[axis] + PX_PER_CROP_PX * 64 * index[..., axis] / 6 for axis in (0, 1)]
    z_mm = (index[..., 2] / 5 * 2 - 1) * 1000 + ROOT_MM[2]
    x_mm, y_mm = ((picture_px[a] - CAMERA[2 + a]) / CAMERA[a] * z_mm for a in (0, 1))
    return torch.stack([x_mm, y_mm, z_mm], -1)


def test_a_high_crop_gets_black_above_and_below_and_needs_no_camera(own_course_root, tmp_path):
    """The challenge's form in small: 96 x 64 px with depth in pixels, scaled by the length of the bones."""
    net, path = imported(tmp_path, "integral", 1, 4, (96, 64))
    result = experiment.test(path, [f"data.root={own_course_root}", *CPU])
    images = torch.zeros(5, 3, 96, 64)
    images[:, :, 16:80] = stored_images(own_course_root, 64)
    pose = voxels("integral", net, images, 18) * torch.tensor([64 / 4, 96 / 6, 288 / 4])
    parents = [0, 0, 1, 2, 0, 4, 5, 0, 17, 17, 8, 17, 11, 12, 17, 14, 15, 0]
    total = (pose - pose[:, parents]).square().sum(-1).sqrt().sum(-1)
    expected_mm = ((pose - pose[:, :1]) * (4502.881 / total)[:, None, None])[:, :17]
    found_mm = torch.from_numpy(read_predictions_csv(result.predictions_csv, HUMAN36M)).double()
    assert (found_mm - expected_mm).abs().max() < 0.05


def test_what_cannot_be_scored_is_named(own_course_root, tmp_path):
    path = imported(tmp_path, "posenet", 0, 4, (64, 64))[1]
    with pytest.raises(ConfigError, match=r"m\.pt: a model file does not say where the images are; add data\.root="):
        experiment.test(path, CPU)
    with pytest.raises(ConfigError, match=r"model\.volume_depth=8: the weights of .*m\.pt are of 4; leave it out"):
        experiment.test(path, [f"data.root={own_course_root}", *CPU, "model.volume_depth=8"])
    with pytest.raises(DataError, match=r"model\.volume image: poses in mm need the camera"):
        experiment.test(path, [f"data.root={own_course_root}", *CPU])


@pytest.mark.parametrize(
    ("network", "labels", "expected"),
    [
        (HUMAN36M_18, HUMAN36M, HUMAN36M.names),
        (MPII_16, HUMAN36M, [name for name in HUMAN36M.names if name != "Spine"]),
        (HUMAN36M, MPII_16, MPII_16.names),
        (MUCO_21, HUMAN36M_18, None),
        (HUMAN36M, Skeleton(("RHip", "RKnee"), {"RKnee": "RHip"}, ()), None),  # another root
    ],
)
def test_joints_are_matched_by_name_where_one_has_all_of_the_others(network, labels, expected):
    if expected is None:
        with pytest.raises(DataError, match="m.pt: predicts other joints than the data set has, .* The set: "):
            joints_in_common(network, labels, Path("m.pt"))
    else:
        found = joints_in_common(network, labels, Path("m.pt"))
        assert (found.names, found.names[found.root]) == (tuple(expected), "Hip")


def test_parents_that_are_left_out_are_replaced_by_theirs():
    found = HUMAN36M.of_joints(["Head", "Hip", "LFoot", "RFoot"])
    assert found.parent_names == {"Head": "Hip", "LFoot": "Hip", "RFoot": "Hip"}
    assert (found.mirror_pairs, found.root) == ((("LFoot", "RFoot"),), 1)
    assert HUMAN36M.of_joints(["Hip", "LFoot"]).mirror_pairs == ()


def test_a_model_file_is_tested_by_default_settings(tmp_path):
    path = imported(tmp_path, "integral", 1, 4, (96, 64))[1]
    config = configuration_of(read_network(path), ["data.root=somewhere", "evaluation.batch_size=3"])
    assert config.data.image_size == [64, 64]
    assert (config.data.stored_size, config.evaluation.batch_size) == (256, 3)


@pytest.mark.parametrize(
    ("size", "aspect", "margins"),
    [((288, 288), 0.75, (0, 48)), ((192, 192), 4 / 3, (32, 0)), ((64, 64), 1, (0, 0)), ((96, 64), 1, (0, 0))],
)
def test_margins(size, aspect, margins):
    assert margins_px(size, aspect) == margins


def test_crops_of_another_size_than_the_networks_are_said(seen_root, tmp_path, capsys):
    with h5py.File(seen_root / "annot/valid.h5") as file:
        crop_px = file["pose2d"][()]
    sides_px = crop_px.max(1) - crop_px.min(1)
    assert crop_scale(crop_px, 64, 1.0) == pytest.approx(np.median(64 / sides_px.max(-1)))
    tall = np.array([[[0, 0], [20, 40]]], np.float32)
    assert crop_scale(tall, 64, 0.75) == pytest.approx(64 / 30)  # 64 wide, 85 high, round a box of 20 x 40
    path = imported(tmp_path, "posenet", 0, 5, (96, 96))[1]
    description = read_network(path).description
    own = dataclasses.replace(description, box_scale=1.05 * crop_scale(crop_px, 64, 1.0))
    assert crop_notice(own, crop_px, 64) is None
    experiment.test(path, [f"data.root={seen_root}", *CPU])
    said = capsys.readouterr().err
    assert (f"{seen_root}: the crops of this data set are" in said) == (
        crop_notice(description, crop_px, 64) is not None
    )
    other = dataclasses.replace(description, box_scale=1.2 * crop_scale(crop_px, 64, 1.0))
    assert "the network was trained on about" in (crop_notice(other, crop_px, 64) or "")
