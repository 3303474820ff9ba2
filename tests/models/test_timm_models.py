"""Backbones of timm: strides, channels, normalisation, packaged ImageNet weights, and models that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch

from integral_pose.config.schema import Config
from integral_pose.errors import CheckpointError, ConfigError
from integral_pose.io import devices
from integral_pose.models.backbones import build_backbone
from integral_pose.models.backbones.timm_models import PACKAGED, packaged_weights
from tests.conftest import build_network_of
from tests.models.make_lite0_features import picture

LITE0 = f"timm/{PACKAGED}"
SIZE = (64, 96)


def make_config(**model):
    values = {"backbone": LITE0, "deconv_channels": [4], "volume_depth": 3, "num_joints": 2, **model}
    data = {"root": "d", "image_size": list(SIZE)}
    return Config.model_validate(
        {"run_dir": "r", "data": data, "model": values, "stages": [{"epochs": 1, "learning_rate": 1e-3}]}
    )


def test_packaged_weights_give_the_features_of_the_packages_own_network():
    """Padding, normalisation and the order of the tensors, all at once. The file is made by make_lite0_features.py."""
    expected = json.loads((Path(__file__).with_name("lite0_features.json")).read_text())
    network = build_network_of(make_config(pretrained="imagenet")).eval()
    with torch.no_grad():
        features = network.backbone((picture() - network.image_mean) / network.image_std)
    assert features.shape == (1, 320, 2, 3)
    torch.testing.assert_close(features.mean((0, 2, 3)), torch.tensor(expected), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(network.image_mean, torch.full((3, 1, 1), 127.0))
    torch.testing.assert_close(network.image_std, torch.full((3, 1, 1), 128.0))


@pytest.mark.parametrize(
    ("name", "stride", "channels"),
    [(PACKAGED, 32, 320), (PACKAGED, 16, 112), ("resnet18", 16, 256), ("convnext_atto", 32, 320)],
)
def test_features_of_a_stride(name, stride, channels):
    features = build_backbone(f"timm/{name}", stride, SIZE)
    found = features(torch.zeros(2, 3, *SIZE))
    assert features.num_channels == channels
    assert found.shape == (2, channels, SIZE[0] // stride, SIZE[1] // stride)
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in features.parameters()), "DistributedDataParallel needs it"


def test_a_model_of_fixed_size_is_made_for_the_crop():
    features = build_backbone("timm/vit_tiny_patch16_224", 16, SIZE)
    assert features(torch.zeros(1, 3, *SIZE)).shape == (1, 192, 4, 6)


def test_models_that_are_refused():
    with pytest.raises(ConfigError, match=r"timm/tf_efficientnet_lit0: timm has no such model; near ones: .*lite0"):
        build_backbone("timm/tf_efficientnet_lit0", 32, SIZE)
    with pytest.raises(ConfigError, match=r"has features of stride 16, none of 32; set model.backbone_stride to 16"):
        build_backbone("timm/vit_tiny_patch16_224", 32, SIZE)


def test_weights_from_a_path_whatever_wraps_them(tmp_path):
    weights = timm.create_model(PACKAGED).state_dict()
    torch.save({f"module.{name}": value for name, value in weights.items()}, tmp_path / "w.pth")
    network = build_network_of(make_config(pretrained=str(tmp_path / "w.pth")))
    assert torch.equal(network.backbone.net.conv_stem.weight, weights["conv_stem.weight"])
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"is not a timm tf_efficientnet_lite0 state dict: it has no conv_stem"):
        build_network_of(make_config(pretrained=str(tmp_path / "other.pth")))


def test_without_a_network_all_three_ways_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("timm.create_model", _offline(timm.create_model))
    with pytest.raises(CheckpointError) as caught:
        build_network_of(make_config(backbone="timm/convnext_atto", pretrained="imagenet"))
    for way in ("HF_HOME", "the path of a timm state dict", f"model.backbone={LITE0}"):
        assert way in str(caught.value)


def _offline(create):
    def create_model(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no route to host")
        return create(name, **options)

    return create_model


def test_packaged_weights_are_a_classifier_of_timm():
    classifier = timm.create_model(PACKAGED)
    classifier.load_state_dict(packaged_weights())


def test_depthwise_convolutions_stay_in_float32_on_a_cpu(monkeypatch):
    monkeypatch.setattr(devices, "_multiplies_bf16", lambda device: True)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    depthwise, plain = build_backbone(LITE0, 32, SIZE), build_backbone("resnet18", 32, SIZE)
    assert devices.choose_precision("auto", cpu, depthwise) == torch.float32
    assert devices.choose_precision("auto", cpu, plain) == torch.bfloat16
    assert devices.choose_precision("auto", cuda, depthwise) == torch.bfloat16
    assert devices.choose_precision("bf16", cpu, depthwise) == torch.bfloat16
