"""Every experiment that is shipped loads, builds its network and makes two training steps."""

from __future__ import annotations

import contextlib
import copy
import json
import tomllib
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import torch
import torchvision
import yaml

from integral_pose.config.loading import load_config
from integral_pose.config.strict_yaml import parse_document
from integral_pose.errors import CheckpointError, ConfigError
from integral_pose.experiment import train
from integral_pose.models.backbones.resnet import RESNETS
from integral_pose.skeleton import HUMAN36M
from integral_pose.weights import packaged_model
from integral_pose.weights.model_file import ModelDescription, save_model_file
from tests.conftest import build_network_of

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(FOLDER.rglob("*.yaml"))
IDS = [path.relative_to(FOLDER).with_suffix("").as_posix() for path in CONFIGS]
# Small enough for a test; the rest is as it is shipped.
SMALL = [
    "data.image_size=[64, 64]", "data.stored_size=64", "data.workers=0", "data.val_subjects=[S8]", "data.val_limit=2",
    "model.deconv_channels=[8, 8]", "model.volume_depth=4", "trainer.batch_size=2", "trainer.accumulation_steps=1",
    "trainer.max_steps=2", "trainer.device=cpu", "trainer.precision=float32", "evaluation.batch_size=2",
    "trainer.log_every=1",
]  # fmt: skip


def small(path, root, run_dir, *more):
    return load_config(str(path), [*SMALL, f"data.root={root}", f"run_dir={run_dir}", *more]).config


def test_the_shipped_ones_are_found():
    assert {"demo", "regression", "integral", "integral_heatmap", "integral_imagenet", "overfit_sample"} <= set(IDS)
    assert {"debiased", "planes", "axes"} <= set(IDS)


@pytest.mark.parametrize("name", IDS)
def test_has_a_run_folder_and_a_header_of_its_own(name):
    path = FOLDER / f"{name}.yaml"
    config = load_config(str(path)).config
    assert config.run_dir == f"runs/{name}"
    header = path.read_text().split("\nrun_dir:")[0]
    assert all(f"# {word}" in header for word in ("command", "hardware", "expected"))
    assert f"configs/{name}.yaml" in header or "./run_train.sh\n" in header


@pytest.mark.parametrize("path", CONFIGS, ids=IDS)
def test_a_file_for_gpus_augments_on_the_device(path):
    """imgaug would take more cores to feed a GPU than a machine has for each."""
    if "# hardware   one CUDA GPU" in path.read_text():
        data = load_config(str(path)).config.data
        assert (data.augmentation.backend, data.workers) == ("device", 8)


@pytest.mark.parametrize("path", CONFIGS, ids=IDS)
def test_every_value_of_a_file_makes_a_difference(path, tmp_path):
    """No file repeats what its base, or the default, says already."""
    whole = load_config(str(path)).config
    values, lines = parse_document(path.read_text(), str(path))
    if "base" in values:
        values["base"] = str(path.parent / values["base"])
    parents = {key[:-1] for key in lines}
    repeated = []
    for key in [key for key in lines if key not in parents and not isinstance(key[-1], int)]:
        less = copy.deepcopy(values)
        del reduce(getitem, key[:-1], less)[key[-1]]
        (tmp_path / "less.yaml").write_text(yaml.safe_dump(less))
        with contextlib.suppress(ConfigError):
            repeated += [key] if load_config(str(tmp_path / "less.yaml")).config == whole else []
    assert repeated == []


@pytest.mark.parametrize("path", CONFIGS, ids=IDS)
def test_makes_two_training_steps(path, course_root, tmp_path, monkeypatch):
    more, whole = [], load_config(str(path)).config
    model = whole.model
    if whole.data.sources:
        more.append(f"data.sources=[{{root: {course_root}, images: 1}}, {{root: {course_root}, images: 1}}]")
    if model.volume == "image":
        more.append("data.val_subjects=[]")  # scores in mm would need cameras, which the tiny data set lacks
    if model.init == packaged_model.NAME:
        stand_in_for_the_packaged_model(path, course_root, tmp_path, monkeypatch)
    if model.backbone in RESNETS:
        more.append("model.backbone=resnet18")
        if model.pretrained:
            weights = tmp_path / "weights.pth"
            torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
            more.append(f"model.pretrained={weights}")
    folder = train(small(path, course_root, tmp_path / "run", *more))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any(row["group"] == "train" and row["step"] == 2 for row in rows)
    assert torch.load(folder / "last.pt", weights_only=True)["model"]


def stand_in_for_the_packaged_model(path, root, folder, monkeypatch):
    """A model file of the small network that a configuration asks the packaged model for."""
    config = small(path, root, folder / "run", "model.init=null", "model.freeze=none")
    description = ModelDescription(config.model.model_dump(), tuple(config.data.image_size), HUMAN36M)
    save_model_file(folder / "packaged.pt", description, build_network_of(config).state_dict())
    monkeypatch.setattr(packaged_model, "FOLDER", folder)
    monkeypatch.setattr(packaged_model, "PACKAGED_MODEL", "packaged.pt")


def test_without_a_packaged_model_fine_tuning_ends_before_it_begins(course_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(packaged_model, "PACKAGED_MODEL", None)
    config = small(FOLDER / "finetune.yaml", course_root, tmp_path / "run")
    with pytest.raises(CheckpointError, match="no model comes with this version of the package, so name one"):
        train(config)
    assert not list((tmp_path / "run").glob("*.pt"))
    assert "training on" not in capsys.readouterr().err


def test_fine_tuning_takes_the_network_of_the_people():
    """Which the packaged model is trained with, whatever that becomes."""
    fine, people = (
        load_config(str(FOLDER / f"{name}.yaml")).config.model.model_dump() for name in ("finetune", "people")
    )
    assert {key for key in fine if fine[key] != people[key]} <= {"init", "pretrained", "freeze"}


def test_the_last_stage_of_the_heat_map_run_makes_a_step_too(course_root, tmp_path):
    path = next(path for path in CONFIGS if path.stem == "integral_heatmap")
    config = small(path, course_root, tmp_path / "run", "model.backbone=resnet18", "stages.0.epochs=1",
                   "stages.0.schedule=constant", "stages.0.drop_epochs=[]", "trainer.max_steps=5")  # fmt: skip
    assert config.stages[-1].weights.heatmap > 0
    folder = train(config)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = {row["step"]: row for row in rows if row["group"] == "train"}
    assert "heatmap" not in steps[4]
    assert steps[5]["heatmap"] > 0


def test_a_packaged_configuration_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = load_config(str(FOLDER / "demo.yaml")).config
    assert load_config("demo").config == expected
    with pytest.raises(ConfigError, match="no_such: there is no such configuration file"):
        load_config("no_such")
    wheel = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"configs": "integral_pose/configs"}
