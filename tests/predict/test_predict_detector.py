"""The person detector: its weights, its messages, and which of its boxes are people."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from integral_pose.errors import CheckpointError
from integral_pose.predict import detector
from integral_pose.predict.detector import PersonDetector, person_boxes


def test_only_sure_people_of_some_size_are_boxes():
    found = {
        "boxes": torch.tensor([[10.0, 20, 40, 80], [0, 0, 9, 9], [5, 5, 50, 60], [7, 7, 8, 90]]),
        "labels": torch.tensor([1, 1, 2, 1]),
        "scores": torch.tensor([0.9, 0.4, 0.99, 0.8]),
    }
    np.testing.assert_array_equal(person_boxes(found, 1), [[10, 20, 30, 60]])
    assert person_boxes({key: value[:0] for key, value in found.items()}, 1).shape == (0, 4)


def test_random_weights_from_a_file(tmp_path):
    torch.manual_seed(0)
    network = detector.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    path = tmp_path / "w.pth"
    torch.save(network.state_dict(), path)
    found = PersonDetector(path, "cpu").boxes(np.zeros((60, 80, 3), np.uint8))
    assert found.shape[1] == 4
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="w.pth: is no state dict of torchvision's ssdlite320_mobilenet_v3_large"):
        PersonDetector(path)


def test_weights_that_cannot_be_had(tmp_path, monkeypatch):
    def no_network(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(CheckpointError) as raised:
        PersonDetector()
    text = str(raised.value)
    assert "could not be downloaded (no route to host)" in text
    name = "ssdlite320_mobilenet_v3_large_coco-a79551df.pth"
    assert f"copy {name} to {tmp_path / 'checkpoints' / name}, or name it with --detector-weights" in text
    assert "--box or --boxes, or take --whole-image" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is no such file"), (b"nonsense", "no checkpoint that can be loaded safely")],
)
def test_weights_that_are_none(content, message, tmp_path):
    path = tmp_path / "w.pth"
    if content:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        PersonDetector(path)
