"""The model of the package, named or not; without one, one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import integral_pose
from integral_pose.cli import main as cli
from integral_pose.config.loading import load_config, load_config_text
from integral_pose.config.schema import ModelConfig
from integral_pose.errors import CheckpointError
from integral_pose.models.pose_net import build_network
from integral_pose.skeleton import HUMAN36M
from integral_pose.weights import packaged_model as packaged
from integral_pose.weights.model_card import ModelCard
from integral_pose.weights.model_file import ModelDescription, in_half_precision, save_model_file
from integral_pose.weights.stored_network import read_network

CARD = ModelCard("people-0", 1_234_567, "seed: 0\n", "MIT", 61.25, {"upright": {"mpjpe_mm": 95.0}})
SAID = (
    "trained on 1,234,567 images of people-0, MIT; MPJPE 61.2 mm on the test images of people-0, 95.0 mm on three real "
    "people who stand"
)


@pytest.fixture
def model(tmp_path, tiny_backbone, monkeypatch):
    """A tiny model that stands for the packaged one."""
    torch.manual_seed(0)
    section = {"backbone": "resnet18", "deconv_channels": [8], "volume_depth": 4}
    weights = build_network(ModelConfig(**section), (64, 64), 0, pretrained=False).state_dict()
    path = tmp_path / "tiny.pt"
    save_model_file(path, ModelDescription(section, (64, 64), HUMAN36M, card=CARD), in_half_precision(weights))
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    monkeypatch.setattr(packaged, "PACKAGED_MODEL", path.name)
    return path


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_without_a_name(model, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = integral_pose.load_model()
    assert (found.source, found.description.card) == (model, CARD)
    assert found.predict(photo)[0].joints_camera_mm.shape == (17, 3)
    assert read_network(Path("packaged")).source == model
    Path("packaged").mkdir()
    with pytest.raises(CheckpointError, match="^packaged: holds neither best.pt nor last.pt"):
        read_network(Path("packaged"))


def test_predict_says_once_what_it_was_trained_on(model, photo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["predict", str(photo), "--whole-image"]) == 0
    out, err = capsys.readouterr()
    assert out == "poses: 1 people in 1 images; poses.json, poses.csv\n"
    assert err == f"the packaged model: {SAID}\n"
    assert (tmp_path / "poses/overlays/photo.png.png").exists()
    for words in ([str(model), str(photo), "--whole-image"], [str(model), "--whole-image", str(photo)]):
        assert cli.main(["predict", *words, "--out", "again"]) == 0
        assert "the packaged model" not in capsys.readouterr().err


def test_three_names_are_too_many(model, photo, capsys):
    assert cli.main(["predict", "a", "b", "--whole-image", "c"]) == 2
    assert "expected a model and a source of pictures, found a, b, c" in capsys.readouterr().err


def test_a_package_without_a_model(photo, monkeypatch, capsys):
    monkeypatch.setattr(packaged, "PACKAGED_MODEL", None)
    assert cli.main(["predict", str(photo), "--whole-image"]) == CheckpointError.exit_code
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "no model comes with this version of the package, so name one: a run folder, a checkpoint or a" in line
    assert "./run_train.sh trains one in minutes" in line
    with pytest.raises(CheckpointError, match="no model comes with this version"):
        integral_pose.load_model()


def test_a_description_from_before_there_were_cards(model):
    content = torch.load(model, weights_only=True)
    del content["description"]["card"]
    content["format"] = "integral-pose/1"
    torch.save(content, model)
    assert read_network(model).description.card is None


def test_the_packaged_file():
    """What lies in the folder is what is named, small, and says all of itself; what it has to reach is in it."""
    files = sorted(path.name for path in packaged.FOLDER.glob("*")) if packaged.FOLDER.exists() else []
    assert files == ([] if packaged.PACKAGED_MODEL is None else [packaged.PACKAGED_MODEL])
    if not files:
        return
    path = packaged.packaged_model()
    assert path.stat().st_size <= packaged.LARGEST_BYTES
    model = integral_pose.load_model()
    card, description = model.description.card, model.description
    assert description.skeleton == HUMAN36M
    assert card.images_seen > 0
    assert card.licence == "MIT"
    assert card.test_mm > 0
    recipe = load_config_text(card.recipe, "card", ()).config
    assert "/" not in f"{recipe.data.root}{recipe.run_dir}", "paths of one machine"
    upright, lying = (card.real_pictures[name] for name in ("upright", "S5"))
    assert upright["mpjpe_mm"] <= 100
    assert lying["mpjpe_mm"] <= 200
    assert card.real_pictures["all"]["turned_round"] == 0
    assert np.isfinite(model.predict(np.full((128, 128, 3), 127, np.uint8))[0].joints_camera_mm).all()
    start = load_config(str(Path(__file__).parents[2] / "configs/finetune.yaml")).config
    own = {
        key: value for key, value in recipe.model.model_dump().items() if key not in ("init", "pretrained", "freeze")
    }
    assert own.items() <= start.model.model_dump().items()
