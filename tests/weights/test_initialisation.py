"""Initialising a network from a trained one: what fits, joint by joint, and what cannot."""

from __future__ import annotations

import pytest
import torch

from integral_pose import experiment
from integral_pose.config.loading import load_config
from integral_pose.errors import CheckpointError, ConfigError
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.skeleton import HUMAN36M, Skeleton
from integral_pose.weights.initialisation import initialise_from
from integral_pose.weights.model_file import ModelDescription, save_model_file
from integral_pose.weights.stored_network import load_network
from tests.conftest import build_network_of

THREE, FOUR = ("a", "b", "c"), ("x", "c", "a", "y")


def state(joints, depth, channels=2, backbone=5, value=0.0):
    return {
        "image_mean": torch.full((3, 1, 1), value),
        "image_std": torch.full((3, 1, 1), value + 1),
        "backbone.w": torch.full((backbone,), value),
        "head.deconvolutions.0.weight": torch.full((4, channels, 4, 4), value),
        "head.deconvolutions.1.weight": torch.full((channels,), value),
        "head.to_volume.weight": value + torch.arange(joints * depth).float()[:, None, None, None].repeat(
            1, channels, 1, 1
        ),
        "head.to_volume.bias": value + torch.arange(joints * depth).float(),
    }  # fmt: skip


def test_joints_are_taken_by_name_and_the_others_left():
    found, summary = initialise_from(state(3, 2), THREE, state(4, 2, value=100.0), FOUR, "m.pt")
    # a is the third of the four, b none of them, c the second
    assert found["head.to_volume.bias"].tolist() == [104, 105, 2, 3, 102, 103]
    assert found["head.to_volume.weight"][:, 1, 0, 0].tolist() == [104, 105, 2, 3, 102, 103]
    assert found["backbone.w"].tolist() == [100] * 5
    assert found["image_std"].flatten().tolist() == [101] * 3
    assert found["head.deconvolutions.0.weight"].unique().tolist() == [100]
    assert summary == (
        "model.init m.pt: took the backbone, the normalisation, 1 of 1 deconvolutions, "
        "the last convolution of 2 of 3 joints"
    )


def test_what_has_another_shape_stays():
    own = state(3, 2, channels=6)
    found, summary = initialise_from(own, THREE, state(4, 2, value=100.0), FOUR, "m.pt")
    assert found["head.to_volume.bias"].tolist() == own["head.to_volume.bias"].tolist()
    assert found["head.deconvolutions.1.weight"].tolist() == [0] * 6
    assert "0 of 1 deconvolutions, the last convolution of 0 of 3 joints; random: head.deconvolutions.0" in summary


def test_another_head_is_taken_where_the_joints_are_the_same():
    own, given = ({"backbone.w": torch.full((1,), v), "head.linear.weight": torch.full((9, 2), v)} for v in (0.0, 1.0))
    assert initialise_from(own, THREE, given, THREE, "m.pt")[0]["head.linear.weight"].unique() == 1
    found, summary = initialise_from(own, THREE, given, ("a", "b", "d"), "m.pt")
    assert found["head.linear.weight"].unique() == 0
    assert summary.endswith("the normalisation; random: head.linear.weight")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (state(4, 3), r"m\.pt: its volume has 3 cells of depth, model\.volume_depth is 2; set model\.\S+ to 3"),
        (state(4, 2, backbone=6), r"m\.pt: has another backbone: backbone\.w is \(6,\) there, \(5,\) here"),
        ({"image_mean": torch.zeros(3, 1, 1)}, r"another backbone: image_std is missing there, \(3, 1, 1\)"),
        ({**state(4, 2), "backbone.v": torch.zeros(1)}, r"another backbone: backbone\.v is \(1,\) there, missing here"),
    ],
)  # fmt: skip
def test_what_cannot_fit(given, message):
    with pytest.raises(CheckpointError, match=message):
        initialise_from(state(3, 2), THREE, given, FOUR, "m.pt")


def model_file(path, tiny_yaml, **changes):
    """A network of 18 joints with its own idea of pixels."""
    config = load_config(str(tiny_yaml), ["model.num_joints=18"]).config
    network = build_network_of(config)
    network.image_mean.fill_(0.5)
    with torch.no_grad():
        network.head.to_volume.bias.copy_(torch.arange(18 * 4.0))
    skeleton = Skeleton(("Extra", *HUMAN36M.names), {**HUMAN36M.parent_names, "Extra": "Hip"}, HUMAN36M.mirror_pairs)
    section = {**config.model.model_dump(), **changes}
    save_model_file(path, ModelDescription(section, (64, 64), skeleton, cells="edge"), network.state_dict())
    return network


@pytest.mark.usefixtures("tiny_backbone")
def test_a_run_is_initialised_once(tiny_yaml, tmp_path, capsys):
    given = model_file(tmp_path / "m.pt", tiny_yaml)
    # Steps too small to be seen, so that the initial weights are what is saved.
    still = [f"model.init={tmp_path / 'm.pt'}", "stages.0.learning_rate=1e-12"]
    folder = experiment.train(load_config(str(tiny_yaml), [*still, "trainer.max_steps=1"]).config)
    assert (
        f"model.init {tmp_path / 'm.pt'}: took the backbone, the normalisation, 1 of 1 deconvolutions, "
        "the last convolution of 17 of 17 joints\n"
    ) in capsys.readouterr().err
    found = load_checkpoint(folder / "last.pt")["model"]
    torch.testing.assert_close(found["head.to_volume.bias"], torch.arange(4, 18 * 4.0))
    torch.testing.assert_close(found["backbone.layers.0.weight"], given.backbone.layers[0].weight)
    assert found["image_mean"].flatten().tolist() == [0.5] * 3
    assert not load_network(folder).network.head.edge_cells  # from here on cells are centred
    (tmp_path / "m.pt").unlink()
    experiment.train(load_config(str(tiny_yaml), [*still, "trainer.max_steps=2"]).config)  # continues without it
    assert load_checkpoint(folder / "last.pt")["progress"]["step"] == 2
    assert "model.init" not in capsys.readouterr().err


@pytest.mark.usefixtures("tiny_backbone")
def test_all_but_last_changes_nothing_else_of_what_it_was_given(tiny_yaml, tmp_path):
    given = model_file(tmp_path / "m.pt", tiny_yaml).state_dict()
    tuned = [f"model.init={tmp_path / 'm.pt'}", "model.freeze=all_but_last", "trainer.max_steps=2"]
    folder = experiment.train(load_config(str(tiny_yaml), tuned).config)
    last = load_checkpoint(folder / "last.pt")
    changed = {name for name, value in last["model"].items() if value.shape != given[name].shape}
    changed |= {name for name, value in last["model"].items() if name not in changed and (value != given[name]).any()}
    assert changed == {"head.to_volume.weight", "head.to_volume.bias"}
    assert len(last["optimizer"]["state"]) == 2
    other = [*tuned, "model.deconv_channels=[4]", f"run_dir={tmp_path / 'other'}"]
    expected = (
        r"deconvolutions\.0\.weight is \(32, 8, 4, 4\) there, \(32, 4, 4, 4\) here, and model\.freeze would keep it"
    )
    with pytest.raises(CheckpointError, match=expected):
        experiment.train(load_config(str(tiny_yaml), other).config)


@pytest.mark.parametrize(("suffix", "kind"), [("onnx", "an ONNX file"), ("safetensors", "a safetensors file")])
def test_a_network_in_another_form_is_called_what_it_is(suffix, kind, tmp_path):
    (tmp_path / f"m.{suffix}").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match=rf"m.{suffix}: is {kind}.*name the run folder, checkpoint or model file"):
        load_network(tmp_path / f"m.{suffix}")


@pytest.mark.usefixtures("tiny_backbone")
def test_a_run_can_be_initialised_from_another_run(tiny_yaml, tmp_path):
    first = experiment.train(load_config(str(tiny_yaml), ["trainer.max_steps=1"]).config)
    again = ["trainer.max_steps=1", f"run_dir={tmp_path / 'second'}", "stages.0.learning_rate=1e-12"]
    second = experiment.train(load_config(str(tiny_yaml), [*again, f"model.init={first}"]).config)
    one, two = (load_checkpoint(folder / "last.pt")["model"] for folder in (first, second))
    torch.testing.assert_close(two["head.to_volume.weight"], one["head.to_volume.weight"])


def test_one_initialisation(tiny_yaml):
    with pytest.raises(ConfigError, match=r"pretrained is imagenet and init is m\.pt; set one of them to null"):
        load_config(str(tiny_yaml), ["model.pretrained=imagenet", "model.init=m.pt"])
