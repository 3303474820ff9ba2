"""A run as a model file to pass on: small, as exact as it has to be, and true about where it comes from."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
import yaml

from integral_pose.cli import main as cli
from integral_pose.config.loading import load_config, load_config_text
from integral_pose.errors import CheckpointError, DataError
from integral_pose.evaluation.scores_json import read_scores_json
from integral_pose.experiment import test as score_run
from integral_pose.experiment import train
from integral_pose.experiment.model_release import release_model
from integral_pose.predict.pose_model import load_model
from integral_pose.weights import model_file
from integral_pose.weights.model_file import in_half_precision
from integral_pose.weights.stored_network import read_network
from tests.conftest import TINY, TinyFeatures

CROPS = {"upright": {"mpjpe_mm": 95.25, "turned_round": 0.0}, "S5": {"mpjpe_mm": 180.5, "turned_round": 0.0}}


def write_real_pictures(run, **crops):
    row = {"name": run.name, "crops": {**CROPS, **crops}, "coco": {"pck": 0.5, "joints": 9}, "mpii": {"pck": 0.25}}
    path = run / "real_pictures" / "real_pictures.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"rows": [{"name": "mean pose of x", "crops": {}}, row]}))
    return path


@pytest.fixture(scope="module")
def trained(course_root, tmp_path_factory):
    """Two steps of 4 images, from a run of 3 steps of 4."""
    folder = tmp_path_factory.mktemp("released")
    tiny = folder / "tiny.yaml"
    tiny.write_text(yaml.safe_dump(TINY))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("integral_pose.models.pose_net.build_backbone", TinyFeatures)
        more = ["trainer.checkpoint_every=1", f"data.root={course_root}", "evaluation.flip=true"]
        train(load_config(str(tiny), [*more, "trainer.max_steps=3", f"run_dir={folder}/first"]).config)
        began = [*more, "trainer.max_steps=2", f"run_dir={folder}/second", f"model.init={folder}/first"]
        return train(load_config(str(tiny), began).config)


@pytest.fixture
def run(trained, tmp_path, tiny_backbone):
    return shutil.copytree(trained, tmp_path / "second")


def test_the_card_says_what_the_run_was(run, trained, tmp_path, capsys):
    score_run(run, [])
    write_real_pictures(run)
    out = tmp_path / "people.pt"
    capsys.readouterr()
    assert cli.main(["export", str(run), "--format", "model", "--licence", "MIT", "--out", str(out)]) == 0
    stored = read_network(out)
    card, test_mm = stored.description.card, read_scores_json(run / "scores.json")[0].mpjpe_mm
    assert (card.data, card.images_seen, card.licence, card.test_mm, card.flip) == ("course", 20, "MIT", test_mm, True)
    assert card.real_pictures == {**CROPS, "coco": {"pck": 0.5}, "mpii": {"pck": 0.25}}
    said = (
        f"trained on 20 images of course, MIT; MPJPE (with --flip) {test_mm:.1f} mm on the test images of course, "
        "95.2 mm on three real people who stand, 180.5 mm on a real one who lies"
    )
    assert capsys.readouterr() == (f"{out}: 0.1 MB in half precision\n  {said}\n", "")
    recipe = load_config_text(card.recipe, "card", ()).config
    assert (recipe.run_dir, recipe.data.root, recipe.model.init) == ("second", "course", "first")
    assert str(run.parent).encode() not in out.read_bytes()
    assert str(trained.parent).encode() not in out.read_bytes()
    with pytest.raises(CheckpointError, match="people.pt: is a model file already"):
        release_model(out, tmp_path / "again.pt")


def test_a_run_that_began_from_a_released_model_counts_its_images(run, tiny_yaml, tmp_path):
    assert release_model(run, tmp_path / "m.pt").images_seen == 20
    third = train(load_config(str(tiny_yaml), ["trainer.max_steps=1", f"run_dir={tmp_path}/third",
                                               f"model.init={tmp_path}/m.pt"]).config)  # fmt: skip
    assert release_model(third, tmp_path / "n.pt").images_seen == 24


def test_what_was_not_measured_of_this_checkpoint_is_left_out(run, tmp_path, capsys):
    score_run(run, [])
    table = write_real_pictures(run)
    os.utime(table, (0, 0))
    with (run / "predictions.json").open("r+") as file:
        record = json.load(file) | {"checkpoint_checksum": "of another"}
        file.seek(0)
        json.dump(record, file)
        file.truncate()
    capsys.readouterr()
    card = release_model(run, tmp_path / "m.pt")
    assert (card.test_mm, card.real_pictures) == (None, {})
    assert card.summary() == "trained on 20 images of course, no licence stated; its errors were not measured"
    said = capsys.readouterr().err
    assert "without its error on the test images; integral-pose test " in said
    assert f"without its errors on real pictures, since {table} is not there or older" in said


def test_a_table_without_the_run_is_refused(run, tmp_path):
    table = write_real_pictures(run)
    other = tmp_path / "other.json"
    other.write_text(table.read_text().replace("second", "another"))
    for text in (other.read_text(), "[]", '{"rows": [{"name": "second"}]}', "no JSON"):
        other.write_text(text)
        with pytest.raises(DataError, match=r"other.json: expected the rows .*, one of them named second; found"):
            release_model(run, tmp_path / "m.pt", real_pictures=other)
    assert not (tmp_path / "m.pt").exists()


def test_half_precision_is_less_than_a_millimetre_off(run, tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "SMALL_TENSOR", 4096)  # of which the tiny network has some
    release_model(run, tmp_path / "m.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    whole, half = (load_model(path).predict(pixels)[0].joints_camera_mm for path in (run, tmp_path / "m.pt"))
    assert 0 < np.abs(whole - half).max() < 1
    assert all(value.dtype != torch.float16 for value in load_model(tmp_path / "m.pt").network.state_dict().values())


def test_only_large_tensors_that_half_precision_holds_are_halved():
    weights = {
        "large": torch.full((256, 128), 1.5), "small": torch.full((32767,), 1.5), "count": torch.ones(40000).long(),
        "beyond": torch.full((256, 128), 1e5),
    }  # fmt: skip
    halved = in_half_precision(weights)
    assert {name: value.dtype for name, value in halved.items() if value.dtype != weights[name].dtype} == {
        "large": torch.float16
    }
    assert all(torch.equal(value.to(weights[name].dtype), weights[name]) for name, value in halved.items())


def test_options_of_another_format(tmp_path, capsys):
    assert cli.main(["export", "runs/mine", "--licence", "MIT", "--out", str(tmp_path / "m.onnx")]) == 2
    assert "--licence is for --format model; leave it out" in capsys.readouterr().err
