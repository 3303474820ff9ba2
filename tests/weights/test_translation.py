"""Imported weights give the same coordinates as in their project: randomly initialised networks of their structure."""

from __future__ import annotations

import collections
import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from integral_pose.cli import main as cli
from integral_pose.errors import CheckpointError, ConfigError
from integral_pose.io.checkpoint_file import load_checkpoint, load_tensors
from integral_pose.skeleton import HUMAN36M, joint_order
from integral_pose.weights.formats import (
    CHECKPOINT_FORMATS,
    HUMAN36M_18,
    HUMAN36M_NAMES,
    MPII_16,
    MUCO_21,
    MUCO_NAMES,
    SHOULDERS,
)
from integral_pose.weights.importing import import_checkpoint, import_weights
from integral_pose.weights.model_file import BONE_LENGTH_MM
from integral_pose.weights.stored_network import load_network
from integral_pose.weights.translation import read_other_project
from tests.weights.originals import make_original, save_original, voxels

NAMED_18 = [
    "Pelvis", "R_Hip", "R_Knee", "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "Torso", "Neck", "Nose", "Head",
    "L_Shoulder", "L_Elbow", "L_Wrist", "R_Shoulder", "R_Elbow", "R_Wrist", "Thorax",
]  # fmt: skip
NAMED_21 = [
    "Head_top", "Thorax", "R_Shoulder", "R_Elbow", "R_Wrist", "L_Shoulder", "L_Elbow", "L_Wrist", "R_Hip", "R_Knee",
    "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "Pelvis", "Spine", "Head", "R_Hand", "L_Hand", "R_Toe", "L_Toe",
]  # fmt: skip


def images_of(size, batch=2, seed=0):
    return torch.randint(0, 256, (batch, 3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def our_voxels(loaded, images):
    """(B, J, 3) indices as the others count them, from the norm coordinates of our network."""
    with torch.inference_mode():
        output = loaded.network(images)
        lengths = torch.tensor(output.logits.shape[2:]).flip(0)
        return (output.joints().double() + 0.5) * lengths


def small(source, at, depth, size):
    return (dataclasses.replace(CHECKPOINT_FORMATS[source][at], depth=depth, image_size=size),)


@pytest.mark.parametrize("source", CHECKPOINT_FORMATS)
@settings(max_examples=3, phases=[Phase.generate])  # a smaller network would say no more, after minutes
@given(
    at=st.integers(0, 1),
    depth=st.integers(2, 9),
    size=st.sampled_from([(64, 96), (96, 64), (32, 64)]),
    widths=st.sampled_from([[5], [6, 4], [4, 3, 5]]),
    prefix=st.sampled_from(["module.", ""]),
    legacy=st.booleans(),
    container=st.sampled_from(["network", "state_dict", None]),
    seed=st.integers(0, 1000),
)
def test_the_same_input_gives_the_same_coordinates(source, at, depth, size, widths, prefix, legacy, container, seed):
    forms = small(source, at, depth, size)
    joints = forms[0].skeleton.num_joints
    net = make_original(source, "resnet18", widths, joints, depth, seed)
    with tempfile.TemporaryDirectory() as folder:
        file = save_original(Path(folder) / "a.pth.tar", net, container=container, prefix=prefix, legacy=legacy)
        loaded = load_network(import_checkpoint(forms, "test", file, Path(folder) / "m.pt").path)
    images = images_of(size, seed=seed)
    expected = voxels(source, net, images.float(), joints)
    assert expected.std() > 0.1  # or every formula would do
    assert (our_voxels(loaded, images) - expected).abs().max() < 1e-4
    assert loaded.description.network["deconv_channels"] == widths
    assert (loaded.description.image_size, loaded.description.cells) == (size, "edge")


def test_resnet_50_as_published_from_the_command_line(tmp_path, capsys):
    net = make_original("posenet", "resnet50", [256, 256, 256], 18, 64)
    file = save_original(tmp_path / "snapshot_24.pth.tar", net, container="network")
    assert cli.main(["import-weights", "posenet", str(file), "--out", str(tmp_path / "m.pt")]) == 0
    printed = capsys.readouterr().out
    assert "m.pt: 3DMPPE PoseNet, from snapshot_24.pth.tar\n" in printed
    assert "resnet50" in printed
    assert "18 joints: Hip RHip RKnee" in printed
    assert sum(value.numel() for value in net.parameters()) == 34_291_392  # the size of the published network
    loaded, images = load_network(tmp_path / "m.pt"), images_of((256, 256), 1)
    assert (our_voxels(loaded, images) - voxels("posenet", net, images.float(), 18)).abs().max() < 1e-4
    assert (loaded.description.image_size, loaded.description.network["volume_depth"]) == ((256, 256), 64)


def test_the_challenge_form_as_published(tmp_path):
    """384 x 288, depth 72 in pixels of the crop, scaled by the length of all bones."""
    net = make_original("integral", "resnet18", [8, 8, 8], 18, 72)
    file = save_original(tmp_path / "model_chall.pth.tar", net, container="network")
    loaded = load_network(import_weights("integral", file, tmp_path / "m.pt").path)
    assert loaded.description.image_size == (384, 288)
    assert loaded.description.crop_aspect == 0.75
    assert loaded.description.provenance.endswith("model_chall.pth.tar; the form of the ECCV 2018 challenge")
    images = images_of((384, 288), 2)
    index = voxels("integral", net, images.float(), 18)
    assert (our_voxels(loaded, images) - index).abs().max() < 1e-4
    patch = torch.stack([(index[..., 0] / 72) * 288, (index[..., 1] / 96) * 384, (index[..., 2] / 72 - 0.5) * 288], -1)
    parents = [0, 0, 1, 2, 0, 4, 5, 0, 17, 17, 8, 17, 11, 12, 17, 14, 15, 0]
    pose = patch - patch[:, :1]
    total = (pose - pose[:, parents]).square().sum(-1).sqrt().sum(-1)
    expected_mm = pose * (4502.881 / total)[:, None, None]
    with torch.inference_mode():
        found_mm = loaded.network.predict_camera_mm(images)
    assert (found_mm.double() - expected_mm).abs().max() < 0.02


def test_the_challenge_form_for_256_px_has_a_name_of_its_own(tmp_path):
    """It has the shapes of the Human3.6M form, and depth in pixels of the crop."""
    net = make_original("integral", "resnet18", [8, 8, 8], 18, 64)
    file = save_original(tmp_path / "model.pth.tar", net, container="network")
    images = images_of((256, 256), 1)
    index = voxels("integral", net, images.float(), 18)
    loaded = load_network(import_weights("integral-challenge", file, tmp_path / "m.pt").path)
    assert (loaded.description.image_size, loaded.description.depth_extent_crop_px) == ((256, 256), 256.0)
    patch = (index / 64 - torch.tensor([0, 0, 0.5])) * 256
    pose = patch - patch[:, :1]
    parents = [0, 0, 1, 2, 0, 4, 5, 0, 17, 17, 8, 17, 11, 12, 17, 14, 15, 0]
    total = (pose - pose[:, parents]).square().sum(-1).sqrt().sum(-1)
    with torch.inference_mode():
        found_mm = loaded.network.predict_camera_mm(images)
    assert (found_mm.double() - pose * (4502.881 / total)[:, None, None]).abs().max() < 0.02
    assert (
        "imported as integral-challenge" in import_weights("integral", file, tmp_path / "m.pt").description.provenance
    )


def test_epipolars_file_with_a_number_of_numpy_is_read(tmp_path):
    net = make_original("epipolar", "resnet18", [4], 17, 64)
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    for legacy, perf in ((True, np.float64(-61.25)), (False, np.float32(0.5))):
        content = {"epoch": 139, "model": "pose3d_resnet", "state_dict": state, "perf": perf, "optimizer": {}}
        torch.save(content, tmp_path / "checkpoint.pth.tar", _use_new_zipfile_serialization=not legacy)
        assert load_tensors(tmp_path / "checkpoint.pth.tar")["perf"] == perf
        done = import_weights("epipolar", tmp_path / "checkpoint.pth.tar", tmp_path / "m.pt")
        assert done.description.undo_lens is False
        assert load_network(done.path).network.space.undo_lens is False


def test_each_project_has_its_own_pixels_and_joints(tmp_path):
    expected = {
        ("posenet", 0): (18, 0.485), ("posenet", 1): (21, 0.485), ("mks-integral", 0): (18, 0.485),
        ("integral", 0): (18, 123.675), ("epipolar", 0): (17, 123.675), ("epipolar", 1): (16, 123.675),
    }  # fmt: skip
    for (source, at), (joints, mean) in expected.items():
        form = CHECKPOINT_FORMATS[source][at]
        assert form.skeleton.num_joints == joints
        net = make_original(source, "resnet18", [4], joints, 64)
        file = save_original(tmp_path / "a.pth", net, container=None)
        loaded = load_network(import_weights(source, file, tmp_path / "m.pt").path)  # found by its channels
        assert loaded.network.image_mean[0].item() == pytest.approx(mean, abs=1e-4)
        assert loaded.description.skeleton == form.skeleton
        assert loaded.description.network["depth_extent_mm"] == 2000
        assert loaded.description.bone_length_mm == (form.bone_length_mm or BONE_LENGTH_MM)


def test_joints_by_name():
    assert list(HUMAN36M_NAMES) == NAMED_18
    assert list(MUCO_NAMES) == NAMED_21
    assert joint_order(HUMAN36M_18.names, HUMAN36M.names) == tuple(range(17))
    assert HUMAN36M_18.names[17] == SHOULDERS
    pairs = [(1, 4), (2, 5), (3, 6), (14, 11), (15, 12), (16, 13)]
    assert {frozenset(p) for p in pairs} == {frozenset((i, j)) for i, j in enumerate(HUMAN36M_18.flip_order) if i != j}
    parents = [0, 0, 1, 2, 0, 4, 5, 0, 17, 17, 8, 17, 11, 12, 17, 14, 15, 0]
    assert sorted(HUMAN36M_18.bones) == [(i, parent) for i, parent in enumerate(parents) if i]
    assert joint_order(MUCO_21.names, HUMAN36M.names) == (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)
    assert (MUCO_21.root, MPII_16.root, HUMAN36M_18.root) == (14, 6, 0)


def test_keys_that_do_not_fit_are_listed(tmp_path):
    net = make_original("posenet", "resnet18", [4], 18, 4)
    net.register_buffer("spare", torch.zeros(1))
    net.backbone.bn1.running_mean[0] = float("nan")
    net.head.deconv_layers[1] = torch.nn.BatchNorm2d(5)
    del net.backbone.layer4[1].bn2
    file = save_original(tmp_path / "a.pth", net, container="network")
    with pytest.raises(CheckpointError) as caught:
        import_checkpoint(small("posenet", 0, 4, (64, 64)), "test", file, tmp_path / "m.pt")
    assert str(caught.value) == (
        f"{file}: is not a resnet18 of this project: backbone.layer4.1.bn2.weight is missing; "
        "backbone.layer4.1.bn2.bias is missing; backbone.layer4.1.bn2.running_mean is missing; "
        "backbone.layer4.1.bn2.running_var is missing; head.deconv_layers.1.weight is (5,), expected (4,); "
        "head.deconv_layers.1.bias is (5,), expected (4,); head.deconv_layers.1.running_mean is (5,), expected (4,); "
        "head.deconv_layers.1.running_var is (5,), expected (4,) and 2 more"
    )
    assert not (tmp_path / "m.pt").exists()


def test_unknown_keys_and_non_finite_weights(tmp_path):
    net = make_original("integral", "resnet18", [4], 18, 4)
    net.register_buffer("spare", torch.zeros(1))
    with torch.no_grad():
        net.head.features[3].bias[1] = float("inf")
    file = save_original(tmp_path / "a.pth", net, container="network", counters=True)
    with pytest.raises(CheckpointError, match=r"project: spare is unknown; head\.features\.3\.bias is not finite$"):
        import_checkpoint(small("integral", 0, 4, (64, 64)), "test", file, tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        ("integral", {}, r"is not a network of this project: expected deconvolutions .* head\.features\.0\.weight"),
        ("posenet", {"depth": 9}, r"head\.final_layer\.weight has 72 channels; known .*: 1152 \(18 joints, depth 64\)"),
        ("hourglass", {}, "unknown source 'hourglass'; known: posenet, mks-integral, integral, integral-challenge, "),
    ],
)  # fmt: skip
def test_another_network_is_refused(source, change, message, tmp_path):
    net = make_original("posenet", "resnet18", [4], 8, change.get("depth", 8))
    file = save_original(tmp_path / "a.pth", net, container="network")
    with pytest.raises((CheckpointError, ConfigError), match=message):
        import_weights(source, file, tmp_path / "m.pt")


def test_a_backbone_of_another_depth_is_named(tmp_path):
    net = make_original("posenet", "resnet18", [4], 18, 4)
    del net.backbone.layer3[1]
    file = save_original(tmp_path / "a.pth", net, container="network")
    with pytest.raises(CheckpointError, match=r"its backbone has \(2, 2, 1, 2\) blocks; known: resnet18, resnet34"):
        import_checkpoint(small("posenet", 0, 4, (64, 64)), "test", file, tmp_path / "m.pt")


class Payload:
    """Unpickled carelessly it makes a folder."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("careless", ["", "1"])
def test_no_code_is_run_whatever_variables_are_set(legacy, careless, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", careless)
    content = {"network": {"w": torch.zeros(1)}, "epoch": Payload(tmp_path / "ran")}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"holds posix\.mkdir, which is no plain data: .*'network'\], NEW\)"):
        read_other_project(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [(collections.defaultdict(dict), "collections.defaultdict"), (np.zeros(2), "numpy.*_reconstruct")],
)
def test_what_else_a_file_holds_is_named(value, name, tmp_path):
    torch.save({"network": {"w": torch.zeros(1)}, "loss": value}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=f"holds {name}, which is no plain data"):
        read_other_project(tmp_path / "a.pth")


def test_weights_that_were_on_a_gpu(tmp_path):
    """A bare pickle of CUDA tensors, made from one of the CPU by exchanging the words in it."""
    torch.save({"module.w": torch.arange(3.0)}, tmp_path / "cpu.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "cpu.pth").read_bytes()
    changed = content.replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage").replace(
        b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
    )
    assert changed.count(b"cuda") == 2
    (tmp_path / "gpu.pth").write_bytes(changed)
    assert read_other_project(tmp_path / "gpu.pth")["w"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a state dict, or one under the key network or state_dict; found list"),
        ({"epoch": 3, "weights": {}}, "found epoch, weights"),
        ({}, "expected a state dict"),
        (dict.fromkeys("abc", torch.zeros(10**4)), "its weights claim 120,000 bytes, the file has"),
        ({"w": torch.eye(3).to_sparse()}, "its weights are no plain tensors with names"),
        ({3: torch.zeros(1)}, "its weights are no plain tensors with names"),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_other_content(content, message, legacy, tmp_path):
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=message):
        read_other_project(tmp_path / "a.pth")


def test_damaged_files(tmp_path, monkeypatch):
    file = tmp_path / "a.pth"
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_other_project(file)
    torch.save({"w": torch.zeros(1000)}, file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"a\.pth: is damaged or no checkpoint that can be loaded safely: "):
        read_other_project(file)
    file.write_bytes(b"PK not a zip")
    with pytest.raises(CheckpointError, match="no zip archive"):
        read_other_project(file)
    monkeypatch.setattr("integral_pose.weights.translation.LARGEST_FILE_BYTES", 5)
    with pytest.raises(CheckpointError, match="has 12 bytes, at most 5 are read"):
        read_other_project(file)


def test_the_file_names_the_project_of_its_weights(tmp_path):
    net = make_original("epipolar", "resnet18", [4], 16, 64)
    file = save_original(tmp_path / "model_best.pth.tar", net, container=None, counters=True)
    import_weights("epipolar", file, tmp_path / "m.pt")
    content = load_checkpoint(tmp_path / "m.pt")
    assert content["description"]["provenance"] == (
        "EpipolarPose, from model_best.pth.tar; 16 joints in MPII's order; weights from MPII alone have never learnt "
        "depth"
    )
