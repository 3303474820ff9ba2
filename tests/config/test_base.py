"""A configuration that starts from another file: what it takes over, where values came from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from integral_pose.config.loading import LoadedConfig, load_config, load_config_text, to_yaml
from integral_pose.errors import ConfigError

BASE = """\
run_dir: runs/base
data:
  root: data
  val_subjects: [S7, S8]
  augmentation: {flip: 0.5, backend: device}
model:
  deconv_channels: [8, 8]
stages:
  - epochs: 1
    learning_rate: 1e-3
    warmup_steps: 7
  - epochs: 2
    learning_rate: 1e-4
trainer:
  clip_gradient: 1.0
"""
FILE = """\
base: base.yaml
run_dir: runs/mine
data:
  val_subjects: [S9]
  augmentation:
    erase: 0.25
stages:
  - epochs: 3
    learning_rate: 1e-2
trainer:
  clip_gradient: null
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(file: str = FILE, base: str = BASE, *overrides: str) -> LoadedConfig:
    Path("base.yaml").write_text(base)
    Path("mine.yaml").write_text(file)
    return load_config("mine.yaml", overrides)


def error_of(file: str = FILE, base: str = BASE, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, base, *overrides)
    return str(caught.value)


def test_sections_are_merged_and_lists_replaced_whole() -> None:
    by_hand = """\
run_dir: runs/mine
data:
  root: data
  val_subjects: [S9]
  augmentation: {flip: 0.5, backend: device, erase: 0.25}
model:
  deconv_channels: [8, 8]
stages:
  - epochs: 3
    learning_rate: 1e-2
"""
    assert load().config == load_config_text(by_hand, "by hand", ()).config


def test_overrides_come_last() -> None:
    config = load(FILE, BASE, "stages.0.epochs=9", "model.deconv_channels.1=4", "data.root=elsewhere").config
    assert (config.stages[0].epochs, config.model.deconv_channels, config.data.root) == (9, [8, 4], "elsewhere")


def test_where_each_value_came_from() -> None:
    origins = load(FILE, BASE, "seed=3", "model.deconv_channels.0=4").origins
    expected = {
        "run_dir": "mine.yaml:2", "data.root": "base base.yaml:3", "data.val_subjects": "mine.yaml:4",
        "data.augmentation.flip": "base base.yaml:5", "data.augmentation.erase": "mine.yaml:6",
        "model.deconv_channels": "command line", "stages.0.epochs": "mine.yaml:8", "stages.0.warmup_steps": "default",
        "trainer.clip_gradient": "mine.yaml:11", "seed": "command line", "model.head": "default",
    }  # fmt: skip
    assert {key: origins[key] for key in expected} == expected


def test_the_run_folders_file_is_complete_and_loads_anywhere() -> None:
    config = load().config
    Path("base.yaml").unlink()
    assert "base" not in to_yaml(config)
    assert load_config_text(to_yaml(config), "run", ()).config == config


def test_the_path_is_relative_to_the_file(folder: Path) -> None:
    load()
    Path("sub").mkdir()
    for name in ("../base.yaml", str(folder / "base.yaml")):
        Path("sub/mine.yaml").write_text(FILE.replace("base.yaml", name))
        assert load_config("sub/mine.yaml").config == load().config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("base: [base.yaml]", "mine.yaml:1: base: expected the path of a configuration file, found ['base.yaml']"),
        ("base:", "mine.yaml:1: base: expected the path of a configuration file, found None"),
        ("base: 3", "mine.yaml:1: base: expected the path of a configuration file, found 3"),
        ("base: ''", "mine.yaml:1: base: expected the path of a configuration file, found ''"),
        ("base: gone.yaml", "mine.yaml:1: base: gone.yaml: there is no such configuration file"),
        ("base: .", "mine.yaml:1: base: .: is a folder; expected a YAML file"),
        ("base: mine.yaml",
         "mine.yaml:1: base: mine.yaml has a base of its own (line 1), but one level is all there is; name a file that "
         "has none"),
    ],
)  # fmt: skip
def test_a_base_that_is_none(change: str, message: str) -> None:
    assert error_of(FILE.replace("base: base.yaml", change)) == message


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("seed: 1\nbase: other.yaml\n",
         "mine.yaml:1: base: base.yaml has a base of its own (line 2), but one level is all there is; name a file that "
         "has none"),
        ("- 1\n", "base base.yaml: expected a mapping of 'key: value' lines at the top level"),
        ("seed: 1\nseed: 2\n", "base base.yaml:2: 'seed' is given twice; the first is in line 1"),
        (BASE + "optimizer: {lr: 3}\n", "base base.yaml:16: unknown key 'optimizer.lr'; did you mean "
         "'stages.0.learning_rate'?"),
        (BASE + "seed: -1\n", "base base.yaml:16: seed: expected greater than or equal to 0, found -1"),
        (BASE.replace("model:\n", "model:\n  volume_depth: 1\n"),
         "base base.yaml:7: model.volume_depth: expected greater than or equal to 2, found 1"),
    ],
)  # fmt: skip
def test_faults_of_the_base(base: str, message: str) -> None:
    assert error_of(FILE, base) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimizer: 3", "mine.yaml:12: optimizer: expected a section with keys of its own, found 3"),
        ("model: null", "mine.yaml:12: model: expected a section with keys of its own, found None"),
        ("model: {deconv_channels: [0]}", "mine.yaml:12: model.deconv_channels.0: expected greater than 0, found 0"),
        ("model: {decoder: debiased, head: axes}",
         "mine.yaml:12: model: decoder is 'debiased', which takes the background out of a volume, but head 'axes' has "
         "none; set decoder to soft_argmax or head to volumetric"),
    ],
)  # fmt: skip
def test_faults_of_the_file_over_its_base(change: str, message: str) -> None:
    assert error_of(FILE + change + "\n") == message


def test_a_text_that_is_no_file_has_no_base() -> None:
    with pytest.raises(ConfigError, match=r"c\.pt:1: base: only a file that is named on the command line has one"):
        load_config_text(FILE, "c.pt", ())
