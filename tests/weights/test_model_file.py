"""The model file: what is written is read, and what contradicts itself is named."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from integral_pose.errors import CheckpointError
from integral_pose.skeleton import Skeleton
from integral_pose.weights.model_file import ModelDescription, parse_description, save_model_file
from integral_pose.weights.stored_network import read_network

THREE = Skeleton(("Pelvis", "L", "R"), {"L": "Pelvis", "R": "Pelvis"}, (("L", "R"),))
DESCRIPTION = ModelDescription(
    {"backbone": "resnet18", "volume": "image"}, (96, 64), THREE, box_scale=1.25, crop_aspect=2 / 3, cells="edge",
    depth_extent_crop_px=288.0, bone_length_mm=4502.881, provenance="from a paper",
)  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    save_model_file(tmp_path / "m.pt", DESCRIPTION, {"w": torch.arange(3.0)})
    stored = read_network(tmp_path / "m.pt")
    assert stored.description == DESCRIPTION
    assert torch.equal(stored.content["model"]["w"], torch.arange(3.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": (100, 64)}, "image_size.0: Input should be a multiple of 32"),
        ({"box_scale": float("nan")}, "box_scale: Input should be a finite number"),
        ({"bone_length_mm": None}, "bone_length_mm: Input should be a valid number"),
        ({"cells": "corner"}, "cells: Input should be 'centred' or 'edge'"),
        ({"skeleton": Skeleton(("a", "b"), {"a": "b", "b": "a"}, ())}, "the parents go in a circle: a - b - a"),
        ({"skeleton": Skeleton(("a", "b", "c"), {"a": "b", "b": "a"}, ())}, "the parents go in a circle"),
        ({"skeleton": Skeleton(("a", "b"), {"b": "z"}, ())}, "the parent of b is z, which is no joint"),
    ],
)
def test_a_description_that_contradicts_itself(changes, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        save_model_file(tmp_path / "m.pt", dataclasses.replace(DESCRIPTION, **changes), {})
    assert not list(tmp_path.iterdir())


def test_a_field_that_is_missing_or_unknown(tmp_path):
    with pytest.raises(CheckpointError, match="m.pt: its description cannot be used: .*skeleton: Field required"):
        parse_description({"image_size": [64, 64]}, tmp_path / "m.pt")
    plain = {"skeleton": {"names": ["a"], "parent_names": {}, "mirror_pairs": []}, "image_size": [64, 64]}
    with pytest.raises(CheckpointError, match="m.pt: its description cannot be used: .*cellls"):
        parse_description({**plain, "network": {}, "cellls": "edge"}, tmp_path / "m.pt")
