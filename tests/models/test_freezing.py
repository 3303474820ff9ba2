"""`model.freeze`: weights and statistics that a training leaves as they are."""

import pytest
import torch
from torch import nn

from integral_pose.config.schema import Config, OptimizerConfig
from integral_pose.errors import ConfigError
from integral_pose.models.freezing import freeze_up_to, keep_frozen_statistics
from integral_pose.training.schedule import build_optimizer
from tests.conftest import build_network_of


def make_config(**model):
    values = {"deconv_channels": [4], "volume_depth": 3, "num_joints": 2, "init": "none.pt", **model}
    return Config.model_validate(
        {
            "run_dir": "r",
            "data": {"root": "d", "image_size": [64, 96]},
            "model": values,
            "loss": {"joints": "l1" if values.get("uncertainty", "none") == "none" else "beta_nll"},
            "stages": [{"epochs": 1, "learning_rate": 1e-3}],
        }
    )


def changed_by_a_step(network):
    """Names of the entries of the state that a training step changes."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network.eval().train()
    network(torch.randint(0, 256, (2, 3, 64, 96))).joints().square().sum().backward()
    optimizer.step()
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize(
    ("backbone", "frozen", "trained"),
    [
        (
            "timm/tf_efficientnet_lite0",
            ("net.conv_stem.", "net.bn1.", "net.blocks.0.", "net.blocks.1.", "net.blocks.2."),
            ("net.blocks.3.", "net.blocks.6."),
        ),
        (
            "resnet18",
            ("resnet.conv1.", "resnet.bn1.", "resnet.layer1.", "resnet.layer2."),
            ("resnet.layer3.", "resnet.layer4."),
        ),
    ],
)
def test_early_keeps_weights_and_statistics_to_stride_8(backbone, frozen, trained):
    changed = {
        name.removeprefix("backbone.")
        for name in changed_by_a_step(build_network_of(make_config(backbone=backbone, freeze="early")))
    }
    assert not [name for name in changed if name.startswith(frozen)]
    for block in (*trained, "head."):
        assert any(name.startswith(block) and name.endswith("weight") for name in changed)
    for block in trained:
        assert any(name.startswith(block) and name.endswith("running_mean") for name in changed)


@pytest.mark.parametrize("stride", [16, 32])
def test_backbone_leaves_the_head_alone(stride):
    changed = changed_by_a_step(build_network_of(make_config(backbone_stride=stride, freeze="backbone")))
    assert changed
    assert all(name.startswith("head.") for name in changed)


VOLUME, PLANES = {"head.to_volume"}, {"head.to_yx", "head.to_zy", "head.to_zx"}


@pytest.mark.parametrize(
    ("section", "last"),
    [
        ({"head": "volumetric"}, VOLUME),
        ({"head": "volumetric", "axis_terms": "linear"}, VOLUME | {"head.axis_terms.linear"}),
        ({"head": "volumetric", "axis_terms": "gaussian"}, VOLUME | {"head.axis_terms.linear"}),
        ({"head": "volumetric", "uncertainty": "scale"}, VOLUME | {"uncertainty.linear"}),
        ({"head": "planes"}, PLANES),
        ({"head": "planes", "axis_terms": "linear"}, PLANES | {"head.axis_terms.linear"}),
        ({"head": "axes"}, {"head.to_joints", "head.to_x", "head.to_y", "head.to_z"}),
        ({"head": "regression"}, {"head.linear"}),
    ],
)  # fmt: skip
def test_all_but_last_trains_what_makes_the_joints(section, last):
    network = build_network_of(make_config(backbone="resnet18", freeze="all_but_last", **section))
    changed = changed_by_a_step(network)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {f"{layer}.{kind}" for layer in last for kind in ("weight", "bias")}
    assert {f"{layer}.weight" for layer in last - {"uncertainty.linear"}} <= changed <= trained  # so no statistics
    assert all((parameter.grad is None) == (name not in trained) or name.startswith("uncertainty.")
               for name, parameter in network.named_parameters())  # fmt: skip
    in_optimizer = {
        id(p) for group in build_optimizer(OptimizerConfig(), network).param_groups for p in group["params"]
    }
    assert in_optimizer == {id(parameter) for parameter in network.parameters() if parameter.requires_grad}


def test_frozen_parts_keep_what_has_no_weights_too():
    frozen = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, affine=False), nn.Dropout()).requires_grad_(False)
    net = nn.Sequential(frozen, nn.Sequential(nn.Linear(3, 3), nn.Dropout())).train()
    keep_frozen_statistics(net)
    assert [module.training for module in (net, *frozen, *net[1])] == [True, False, False, False, True, True]


def test_synchronised_norms_keep_their_statistics_too():
    network = build_network_of(make_config(backbone="resnet18", freeze="early"))
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network).train()
    training = {name: m.training for name, m in network.named_modules() if isinstance(m, nn.SyncBatchNorm)}
    assert not training["backbone.resnet.layer2.1.bn2"]
    assert training["backbone.resnet.layer3.0.bn1"]


def test_what_cannot_be_frozen_is_refused():
    with pytest.raises(ValueError, match="freeze is 'early' and the weights would stay random; set pretrained or init"):
        make_config(init=None, freeze="early")
    with pytest.raises(ValueError, match="'all_but_last' and the head's deconvolutions would stay random; set init"):
        make_config(init=None, pretrained="imagenet", freeze="all_but_last")
    with pytest.raises(ConfigError, match="model.freeze early: timm vit_tiny_patch16_224 has no features of stride 8"):
        build_network_of(make_config(backbone="timm/vit_tiny_patch16_224", backbone_stride=16, freeze="early"))
    with pytest.raises(ValueError, match="no module is named stage9"):
        freeze_up_to(nn.Sequential(nn.Linear(1, 1)), "stage9")
