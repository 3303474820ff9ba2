"""Exported files give the network's output at any batch and describe themselves; else they are not written."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
import torch

from integral_pose.cli import main as cli
from integral_pose.config.schema import ModelConfig
from integral_pose.errors import CheckpointError, ConfigError
from integral_pose.models.pose_net import build_network
from integral_pose.skeleton import Skeleton
from integral_pose.weights import exporting
from integral_pose.weights.exporting import METADATA, export, largest_difference_mm
from integral_pose.weights.model_file import ModelDescription, save_model_file
from integral_pose.weights.stored_network import load_network

THREE = Skeleton(("Pelvis", "L", "R"), {"L": "Pelvis", "R": "Pelvis"}, (("L", "R"),))
HEIGHT, WIDTH = 64, 96

pytestmark = pytest.mark.usefixtures("tiny_backbone")


def make_model(path, cells="centred", **changes):
    """A model file of three joints whose heat maps have peaks away from the middle, in 4 x 4 x 6 cells (z, y, x)."""
    section = ModelConfig(
        **{"backbone": "resnet18", "num_joints": 3, "deconv_channels": [8], "volume_depth": 4, **changes}
    )
    torch.manual_seed(0)
    network = build_network(section, (HEIGHT, WIDTH), THREE.root, pretrained=False)
    if section.head == "volumetric":
        with torch.no_grad():
            network.head.to_volume.bias.copy_(torch.tensor([2.0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 4]))
    else:
        network.head.mean_mm.normal_(0, 300)
    extra = {"depth_extent_crop_px": 96.0} if changes.get("volume") == "image" and cells == "edge" else {}
    description = ModelDescription(
        section.model_dump(), (HEIGHT, WIDTH), THREE, cells=cells, provenance="made here", box_scale=1.3, **extra
    )
    save_model_file(path, description, network.state_dict())
    return path


def images(batch):
    return torch.randint(0, 256, (batch, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(batch)).float()


def run_onnx(path):
    session = importlib.import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [tuple(i.shape) for i in session.get_inputs()] == [("batch", 3, HEIGHT, WIDTH)]
    return lambda batch: torch.from_numpy(np.asarray(session.run(["joints"], {"images": batch.numpy()})[0]))


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_the_metric_volume_comes_out_in_root_relative_millimetres(form, tmp_path):
    model, out = make_model(tmp_path / "m.pt", "edge"), tmp_path / f"m.{form}"
    done = export(model, form, out)
    assert done.difference_mm < 0.01
    network = load_network(model).network
    run = run_onnx(out) if form == "onnx" else torch.export.load(out).module()
    for batch in (1, 3, 7):  # 3 and 7 are not among those that the export looked at
        with torch.inference_mode():
            expected_mm = network.predict_camera_mm(images(batch).to(torch.uint8))
        assert expected_mm.abs().max() > 50
        assert (run(images(batch)) - expected_mm).abs().max() < 0.05
    if form == "onnx":
        model_proto = importlib.import_module("onnx").load(out)
        properties = {p.key: p.value for p in model_proto.metadata_props}
        assert model_proto.opset_import[0].version == exporting.ONNX_OPSET
    else:
        properties = {METADATA: ""}
        torch.export.load(out, extra_files=properties)
    found = json.loads(properties[METADATA])
    assert found == done.metadata
    assert found["joints"] == ["Pelvis", "L", "R"]
    assert found["output"]["units"] == ["mm", "mm", "mm"]
    assert (found["input"]["height_px"], found["input"]["width_px"], found["input"]["range"]) == (64, 96, [0, 255])
    assert (found["crop"]["box_scale"], found["cells"], found["provenance"]) == (1.3, "edge", "made here")


def test_the_image_volume_comes_out_in_pixels_of_the_crop_and_depth(tmp_path):
    model, out = make_model(tmp_path / "m.pt", volume="image", depth_extent_mm=1500.0), tmp_path / "m.pt2"
    done = export(model, "torch", out)
    network = load_network(model).network
    with torch.inference_mode():
        norm = network(images(2)).joints()
    expected = torch.stack([(norm[..., 0] + 0.5) * 96, (norm[..., 1] + 0.5) * 64, norm[..., 2] * 1500], -1)
    torch.testing.assert_close(torch.export.load(out).module()(images(2)), expected, rtol=1e-5, atol=1e-3)
    assert done.metadata["output"]["units"] == ["crop_px", "crop_px", "mm"]
    assert done.metadata["output"]["origin"] == "x, y: the crop's upper left corner; z: the root joint"


@pytest.mark.parametrize("changes", [{"head": "regression"}, {"volume": "image", "cells": "edge"}])
def test_poses_without_a_volume_and_depth_in_pixels_come_out_in_millimetres(changes, tmp_path):
    model, out = make_model(tmp_path / "m.pt", **changes), tmp_path / "m.pt2"
    export(model, "torch", out)
    with torch.inference_mode():
        expected_mm = load_network(model).network.predict_camera_mm(images(2))
    torch.testing.assert_close(torch.export.load(out).module()(images(2)), expected_mm, rtol=1e-4, atol=0.05)


def test_a_file_that_differs_from_the_network_is_not_written(tmp_path, monkeypatch):
    model, out = make_model(tmp_path / "m.pt"), tmp_path / "m.pt2"
    honest = exporting.ExportedNetwork(load_network(model).network)
    monkeypatch.setattr(exporting, "_runner", lambda *_: lambda batch: honest(batch) + 0.06 * (len(batch) == 5))
    with pytest.raises(CheckpointError, match=r"m\.pt: not exported, since the torch file would be 0\.06\d* mm off the "
                       r"network, more than 0\.05"):  # fmt: skip
        export(model, "torch", out)
    monkeypatch.setattr(exporting, "_runner", lambda *_: lambda batch: honest(batch) * float("nan"))
    with pytest.raises(CheckpointError, match="would be nan mm off"):
        export(model, "torch", out)
    assert not out.exists()


def test_a_pixel_counts_by_its_millimetres(tmp_path):
    loaded = load_network(make_model(tmp_path / "m.pt", volume="image", depth_extent_mm=1500.0))
    network = exporting.ExportedNetwork(loaded.network)
    shift = torch.tensor([0.0, 0.5, 0.0])
    assert largest_difference_mm(network, loaded, lambda batch: network(batch) + shift) == pytest.approx(
        0.5 * 1500 / 64, rel=1e-4
    )  # fmt: skip


def test_the_command_line(tmp_path, capsys):
    model, out = make_model(tmp_path / "m.pt"), tmp_path / "there" / "m.pt2"
    assert cli.main(["export", str(model), "--format", "torch", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"{out}: " in printed
    assert "3 joints in mm, mm, mm\n  at most " in printed
    assert printed.endswith(" mm off the network on noise, at batches of 1, 2, 5\n")
    assert out.exists()


def test_without_the_extra_the_packages_are_named(tmp_path, monkeypatch):
    model = make_model(tmp_path / "m.pt")
    real = importlib.import_module

    def without_onnxscript(name, package=None):
        if name == "onnxscript":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr("importlib.import_module", without_onnxscript)
    with pytest.raises(ConfigError, match=r"the ONNX export needs the package onnxscript; install it with: pip install "
                       r"'integral-pose\[export\]'"):  # fmt: skip
        export(model, "onnx", tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match="unknown format 'tflite'; known: onnx, torch"):
        export(model, "tflite", tmp_path / "m.tflite")
