"""Whatever file of ours holds a network, it is the same network that comes out."""

from __future__ import annotations

import pytest
import torch

from integral_pose.config.loading import load_config
from integral_pose.config.schema import ModelConfig
from integral_pose.errors import CheckpointError
from integral_pose.experiment import train
from integral_pose.io.checkpoint_file import load_checkpoint, save_checkpoint
from integral_pose.models.pose_net import build_network
from integral_pose.skeleton import HUMAN36M, Skeleton
from integral_pose.weights.model_file import ModelDescription, save_model_file
from integral_pose.weights.stored_network import load_network, read_network
from tests.conftest import build_network_of

THREE = Skeleton(("Pelvis", "L", "R"), {"L": "Pelvis", "R": "Pelvis"}, (("L", "R"),))
NETWORK = {"backbone": "resnet18", "num_joints": 3, "deconv_channels": [8], "volume_depth": 4}


@pytest.mark.usefixtures("tiny_backbone")
def test_a_run_gives_its_averaged_or_its_newest_weights(tiny_yaml):
    folder = train(load_config(str(tiny_yaml), ["trainer.ema_decay=0.5", "trainer.max_steps=3"]).config)
    content = load_checkpoint(folder / "last.pt")
    averaged, raw = load_network(folder / "last.pt"), load_network(folder / "last.pt", "raw")
    assert torch.equal(raw.network.head.to_volume.weight, content["model"]["head.to_volume.weight"])
    assert torch.equal(averaged.network.head.to_volume.weight, content["average"]["module.head.to_volume.weight"])
    assert not torch.equal(averaged.network.head.to_volume.weight, raw.network.head.to_volume.weight)
    best = load_network(folder)
    assert best.source == folder / "best.pt"
    assert torch.equal(best.network.head.to_volume.weight, averaged.network.head.to_volume.weight)
    assert (best.description.skeleton, best.description.image_size) == (HUMAN36M, (64, 64))
    assert best.description.cells == "centred"
    assert not best.network.training
    assert read_network(folder).config_yaml == content["config"]


@pytest.mark.usefixtures("tiny_backbone")
def test_a_model_file_says_what_it_is(tiny_yaml, tmp_path):
    config = load_config(str(tiny_yaml), ["model.num_joints=3", "model.deconv_channels=[8]"]).config
    model = build_network_of(config)
    description = ModelDescription(NETWORK, (64, 64), THREE, cells="edge")
    save_model_file(tmp_path / "m.pt", description, model.state_dict())
    loaded = load_network(tmp_path / "m.pt")
    assert loaded.description == description
    assert loaded.network.head.edge_cells
    assert read_network(tmp_path / "m.pt").config_yaml is None
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    assert torch.equal(loaded.network(images).logits, model.eval()(images).logits)


def test_what_cannot_be_built_is_named(tmp_path):
    description = ModelDescription({**NETWORK, "backbone": "resnet19"}, (64, 64), THREE)
    save_model_file(tmp_path / "m.pt", description, {})
    with pytest.raises(CheckpointError, match=r"m.pt: describes a network that this version cannot build.*\n.*"):
        load_network(tmp_path / "m.pt")
    save_checkpoint(tmp_path / "n.pt", {"model": {}})
    with pytest.raises(CheckpointError, match="n.pt: holds neither a configuration nor a description of its network"):
        load_network(tmp_path / "n.pt")


def test_imported_files_of_before_the_lens_was_stated_have_none(tmp_path):
    section = {**NETWORK, "volume": "image"}
    network = build_network(ModelConfig.model_validate(section), (64, 64), 0, pretrained=False)
    for cells in ("edge", "centred"):
        save_model_file(
            tmp_path / "m.pt", ModelDescription(section, (64, 64), THREE, cells=cells), network.state_dict()
        )
        content = load_checkpoint(tmp_path / "m.pt")
        del content["description"]["undo_lens"], content["format"]
        save_checkpoint(tmp_path / "m.pt", content)
        assert load_network(tmp_path / "m.pt").network.space.undo_lens is (cells == "centred")
