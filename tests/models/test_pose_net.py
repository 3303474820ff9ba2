"""Networks of any size: shapes, memory, numbers and what pretrained weights may be."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision

from integral_pose.config.schema import Config
from integral_pose.errors import CheckpointError
from integral_pose.geometry.coordinates import MetricVolume, StandardisedPose
from integral_pose.models.backbones.resnet import IMAGE_MEAN, IMAGE_STD, RESNETS, ResNetFeatures
from integral_pose.models.heads.regression import RegressionHead
from integral_pose.models.heads.volumetric import VolumetricHead
from integral_pose.models.pose_net import PoseNet
from tests.conftest import build_network_of


class Stub(torch.nn.Module):
    """A backbone of one strided convolution, to look at heads alone."""

    image_mean, image_std = IMAGE_MEAN, IMAGE_STD

    def __init__(self, channels=4):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, channels, 32, stride=32)
        self.seen = None

    def forward(self, images):
        self.seen = images
        return self.convolution(images)


def make_config(**model):
    values = {"backbone": "resnet18", "deconv_channels": [4], "volume_depth": 3, **model}
    stages = [{"epochs": 1, "learning_rate": 1e-3}]
    return Config.model_validate({"run_dir": "r", "data": {"root": "d"}, "model": values, "stages": stages})


def volumetric(deconv_channels=(4, 5), joints=3, depth=6):
    return PoseNet(Stub(), VolumetricHead(4, deconv_channels, joints, depth, MetricVolume(2000.0, 0)))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 32), (96, 64)])
@pytest.mark.parametrize("deconv_channels", [(), (4,), (4, 5)])
def test_volume_of_any_input_divisible_by_32(height, width, deconv_channels):
    output = volumetric(deconv_channels)(torch.zeros(2, 3, height, width, dtype=torch.uint8))
    growth = 2 ** len(deconv_channels)
    assert output.logits.shape == (2, 3, 6, height // 32 * growth, width // 32 * growth)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_heat_maps_are_a_view_of_the_last_convolution(memory_format):
    net = volumetric().to(memory_format=memory_format)
    seen = []
    net.head.to_volume.register_forward_hook(lambda module, inputs, output: seen.append(output))
    logits = net(torch.zeros(2, 3, 64, 96).to(memory_format=memory_format)).logits
    _, joints, depth, height, width = logits.shape
    assert logits.data_ptr() == seen[0].data_ptr()
    volume = joints * depth * height * width
    if memory_format is torch.contiguous_format:
        assert logits.stride() == (volume, depth * height * width, height * width, width, 1)
    else:
        assert logits.stride() == (volume, depth, 1, width * joints * depth, joints * depth)
    torch.testing.assert_close(logits[1, 2, 4], seen[0][1, 2 * depth + 4])


def test_both_memory_formats_give_the_same():
    net = volumetric().eval()
    images = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    plain = net.predict_camera_mm(images)
    last = net.to(memory_format=torch.channels_last).predict_camera_mm(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, last, rtol=1e-4, atol=1e-3)


def test_images_are_normalised_as_imagenet_was():
    net = volumetric()
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image[0, :, 0, 0], image[0, :, 0, 1] = 255, torch.tensor([100, 150, 200], dtype=torch.uint8)
    net(image)
    expected = (torch.tensor([100, 150, 200]) / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(net.backbone.seen[0, :, 0, 1], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net.backbone.seen[0, 0, 0, 0], torch.tensor((1 - 0.485) / 0.229))
    seen = net.backbone.seen
    net(image.float())
    torch.testing.assert_close(net.backbone.seen, seen)
    assert {"image_mean", "image_std"} <= net.state_dict().keys()


@pytest.mark.parametrize("root", [0, 2])
def test_predictions_are_root_relative_millimetres(root):
    net = PoseNet(Stub(), VolumetricHead(4, (), 3, 2, MetricVolume(1000.0, root)))
    with torch.no_grad():
        net.head.to_volume.weight.zero_()
        net.head.to_volume.bias.copy_(torch.tensor([50.0, 0, 0, 50, 0, 0]))  # joints in the near, far and middle plane
    z = torch.tensor([-250.0, 250, 0])
    joints = net.predict_camera_mm(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    torch.testing.assert_close(joints[0, :, 2], z - z[root])
    torch.testing.assert_close(joints[0, :, :2], torch.zeros(3, 2))


def test_regression_head():
    net = PoseNet(Stub(), RegressionHead(4, num_joints=2, root=1))
    with torch.no_grad():
        net.head.linear.weight.zero_()
        net.head.linear.bias.copy_(torch.tensor([1.0, 2, 3, 0, 0, 0.5]))
        net.head.mean_mm.copy_(torch.tensor([[10.0, 20, 30], [0, 0, 0]]))
        net.head.std_mm.copy_(torch.tensor([[2.0, 2, 2], [0, 0, 0]]))
    output = net(torch.zeros(2, 3, 64, 96))
    assert output.coordinates[1].tolist() == [[1, 2, 3], [0, 0, 0.5]]
    assert isinstance(net.space, StandardisedPose)
    assert net.predict_camera_mm(torch.zeros(2, 3, 64, 96))[1].tolist() == [[12, 24, 35.5], [0, 0, 0]]
    assert {"head.mean_mm", "head.std_mm"} <= net.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "channels"),
    [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048), ("resnet101", 2048), ("resnet152", 2048)],
)
def test_every_resnet_gives_stride_32(name, channels):
    with torch.device("meta"):
        features = ResNetFeatures(name)
        maps = features(torch.zeros(1, 3, 64, 96))
    assert (features.num_channels, maps.shape) == (channels, (1, channels, 2, 3))


def test_features_are_those_of_torchvision():
    torch.manual_seed(0)
    reference = torchvision.models.resnet18(weights=None).eval()
    features = ResNetFeatures("resnet18").eval()
    features.resnet.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")})
    seen = []
    reference.layer4.register_forward_hook(lambda module, inputs, output: seen.append(output))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        reference(images)
        torch.testing.assert_close(features(images), seen[0], rtol=0, atol=0)


def test_the_size_of_the_published_network():
    """ResNet-50, three deconvolutions of 256, 17 joints, 64^3: 34.27 million parameters."""
    with torch.device("meta"):
        model = build_network_of(make_config(backbone="resnet50", deconv_channels=[256, 256, 256], volume_depth=64))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert round(parameters / 1e6, 2) == 34.27


@pytest.mark.parametrize("std", [0.02, 0.001])
def test_the_last_convolution_starts_as_wide_as_asked(std):
    more = {} if std == 0.02 else {"head_init_std": std}
    weight = build_network_of(make_config(deconv_channels=[64], volume_depth=64, **more)).head.to_volume.weight
    assert weight.std().item() == pytest.approx(std, rel=0.05)


def test_build_model_reads_the_configuration():
    with torch.device("meta"):
        model = build_network_of(make_config(num_joints=5, volume_depth=7, extent_mm=1500.0, deconv_channels=[8, 6]))
        logits = model(torch.zeros(1, 3, 32, 64)).logits
    assert logits.shape == (1, 5, 7, 4, 8)
    assert model.space == MetricVolume(1500.0, root=0)
    with torch.device("meta"):
        assert isinstance(build_network_of(make_config(head="regression")).head, RegressionHead)


@pytest.fixture(scope="module")
def classifier():
    """The state dict of a classifier, as torchvision saves it."""
    torch.manual_seed(1)
    return torchvision.models.resnet18(weights=None, num_classes=3).state_dict()


def test_pretrained_from_a_file(tmp_path, classifier):
    torch.save(classifier, tmp_path / "weights.pth")
    model = build_network_of(make_config(pretrained=str(tmp_path / "weights.pth")))
    loaded = model.backbone.resnet.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in classifier.items() if not key.startswith("fc."))
    random = build_network_of(make_config(pretrained=str(tmp_path / "not there")), pretrained=False)
    assert not torch.equal(random.backbone.resnet.conv1.weight, classifier["conv1.weight"])


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "_orig_mod.module.", "model."])
def test_pretrained_files_of_wrapped_networks(tmp_path, classifier, prefix):
    torch.save({prefix + key: value for key, value in classifier.items()}, tmp_path / "weights.pth")
    features = ResNetFeatures("resnet18")
    features.load_pretrained(str(tmp_path / "weights.pth"))
    assert torch.equal(features.resnet.layer4[1].conv2.weight, classifier["layer4.1.conv2.weight"])


def test_pretrained_files_that_hold_more_than_the_weights(tmp_path, classifier):
    torch.save(
        {"state_dict": {"model." + key: each for key, each in classifier.items()}, "epoch": 3}, tmp_path / "l.pt"
    )
    features = ResNetFeatures("resnet18")
    features.load_pretrained(str(tmp_path / "l.pt"))
    assert torch.equal(features.resnet.layer4[1].conv2.weight, classifier["layer4.1.conv2.weight"])


def test_features_of_stride_16(classifier, tmp_path):
    torch.save(classifier, tmp_path / "weights.pth")
    features = ResNetFeatures("resnet18", stride=16)
    features.load_pretrained(str(tmp_path / "weights.pth"))
    assert features(torch.zeros(1, 3, 64, 96)).shape == (1, features.num_channels, 4, 6)
    assert features.num_channels == 256
    config = make_config(backbone_stride=16)
    assert config.volume_shape == (3, 32, 32)
    assert build_network_of(config)(torch.zeros(1, 3, 256, 256)).logits.shape == (1, 17, 3, 32, 32)


def test_pretrained_files_that_are_refused(tmp_path, classifier):
    def error_of(name, content):
        path = Path(name) if name == "imagnet" else tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        with pytest.raises(CheckpointError) as caught:
            ResNetFeatures("resnet18").load_pretrained(str(path))
        return str(caught.value).removeprefix(f"model.pretrained {path}: ")

    assert error_of("none.pth", None) == "there is no such file"
    assert error_of("text.pth", b"hello").startswith("is damaged or no checkpoint that can be loaded safely: ")
    assert error_of("code.pth", Path("x")).startswith("holds pathlib.")
    assert error_of("list.pth", [torch.zeros(1)]) == "expected a state dict of tensors"
    assert error_of("numbered.pth", {0: torch.zeros(1)}) == "expected a state dict of tensors"
    assert error_of("nested.pth", {"model": classifier}) == "expected a state dict of tensors"
    assert error_of("imagnet", None) == "there is no such file; did you mean 'imagenet'?"
    assert error_of("model.onnx", classifier).startswith("is an ONNX file, which holds a graph and not the weights by")
    lacking = {key: value for key, value in classifier.items() if key != "conv1.weight"}
    assert error_of("lacking.pth", lacking) == ("is not a torchvision resnet18 state dict: it has no conv1.weight")
    wider = classifier | {"conv1.weight": torch.zeros(64, 4, 7, 7)}
    assert error_of("wider.pth", wider) == (
        "is not a torchvision resnet18 state dict: conv1.weight is (64, 4, 7, 7) there, (64, 3, 7, 7) here"
    )


@pytest.mark.parametrize("fault", [urllib.error.URLError("no route"), OSError(28, "disk full")])
def test_imagenet_weights_without_a_network(fault, monkeypatch, tmp_path):
    def download(*_, **__):
        raise fault

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    name = RESNETS["resnet18"][1].url.rpartition("/")[2]
    with pytest.raises(CheckpointError) as caught:
        build_network_of(make_config(pretrained="imagenet"))
    assert str(caught.value) == (
        "model.pretrained imagenet: the weights of resnet18 are not in torchvision's cache and could not be downloaded "
        f"({fault}). Without a network, copy {name} to {tmp_path}/hub/checkpoints/{name}, or set model.pretrained to "
        "the path where it lies, or to null to start from random weights"
    )


def test_imagenet_weights_from_the_cache(monkeypatch, tmp_path, classifier):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(classifier, tmp_path / "hub/checkpoints" / RESNETS["resnet18"][1].url.rpartition("/")[2])
    model = build_network_of(make_config(pretrained="imagenet"))
    assert torch.equal(model.backbone.resnet.conv1.weight, classifier["conv1.weight"])
