"""Configuration errors by their full text, overrides, and where each value came from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integral_pose.config.loading import load_config, load_config_text, to_yaml
from integral_pose.config.schema import Config
from integral_pose.errors import ConfigError

BASE = """\
run_dir: runs/x
data:
  root: data
  image_size: [64, 96]
model:
  deconv_channels: [8, 8]
stages:
  - epochs: 1
    learning_rate: 1e-3
  - epochs: 2
    learning_rate: 1e-4
"""


def load(text=BASE, *overrides):
    return load_config_text(text, "f.yaml", overrides)


def error_of(text=BASE, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    return str(caught.value)


def test_values_of_file_defaults_and_command_line():
    config = load(BASE, "stages.1.epochs=7", "trainer.clip_gradient=0.5", "data.val_subjects=[S8]").config
    assert [stage.learning_rate for stage in config.stages] == [1e-3, 1e-4]
    assert [stage.epochs for stage in config.stages] == [1, 7]
    assert (config.trainer.clip_gradient, config.data.val_subjects, config.model.extent_mm) == (0.5, ["S8"], 2200)


def test_volume_shape_is_depth_height_width():
    assert load().config.volume_shape == (64, 64 // 32 * 4, 96 // 32 * 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nonsense: 1", "f.yaml:12: unknown key 'nonsense'; known here: run_dir, seed, data, model, loss, stages, "
         "optimizer, trainer, evaluation"),
        ("optimiser: {name: sgd}", "f.yaml:12: unknown key 'optimiser'; did you mean 'optimizer'?"),
        ("batch_size: 3", "f.yaml:12: unknown key 'batch_size'; did you mean 'trainer.batch_size'?"),
        ("trainer:\n  batchsize: 3", "f.yaml:13: unknown key 'trainer.batchsize'; did you mean 'trainer.batch_size'?"),
        ("loss: {heatmap: {raduis: 3}}",
         "f.yaml:12: unknown key 'loss.heatmap.raduis'; did you mean 'loss.heatmap.radius'?"),
        ("    learning_rat: 1",
         "f.yaml:12: unknown key 'stages.1.learning_rat'; did you mean 'stages.1.learning_rate'?"),
        ("seed: 1.5", "f.yaml:12: seed: expected a valid integer, found 1.5"),
        ("seed: -1", "f.yaml:12: seed: expected greater than or equal to 0, found -1"),
        ("seed: 99999999999999999999",
         "f.yaml:12: seed: expected less than 9223372036854775808, found 99999999999999999999"),
        ("trainer: {channels_last: yes}", "f.yaml:12: trainer.channels_last: expected a valid boolean, found 'yes'"),
        ("trainer: {channels_last: 1}", "f.yaml:12: trainer.channels_last: expected a valid boolean, found 1"),
        ("trainer: {batch_size: true}", "f.yaml:12: trainer.batch_size: expected a valid integer, found True"),
        ("trainer: {log_every: '5'}", "f.yaml:12: trainer.log_every: expected a valid integer, found '5'"),
        ("trainer: {log_every: 0}", "f.yaml:12: trainer.log_every: expected greater than 0, found 0"),
        ("trainer: {clip_gradient: 1e999}", "f.yaml:12: trainer.clip_gradient: expected a finite number, found inf"),
        ("trainer: {ema_decay: 1.0}", "f.yaml:12: trainer.ema_decay: expected less than 1, found 1.0"),
        ("trainer: 3", "f.yaml:12: trainer: expected a section with keys of its own, found 3"),
        ("trainer: {batch_size: 8, accumulation_steps: 3}",
         "f.yaml:12: trainer.batch_size 8 is not divisible by trainer.accumulation_steps 3"),
        ("evaluation:\n  precision: fp16",
         "f.yaml:13: evaluation.precision: expected 'auto', 'float32' or 'bf16', found 'fp16'"),
        ("    weights: {integral: 0}",
         "f.yaml:12: stages.1.weights: integral and heatmap are 0, so there is nothing to learn; set one"),
        ("    schedule: steps",
         "f.yaml:10: stages.1: drop_epochs is [] with schedule 'steps'; schedule 'steps' needs them "
         "and the others have none"),
        ("    drop_epochs: [1]",
         "f.yaml:12: stages.1: drop_epochs is [1] with schedule 'constant'; schedule 'steps' needs "
         "them and the others have none"),
    ],
)  # fmt: skip
def test_a_fault_in_the_file(change, message):
    assert error_of(BASE + change + "\n") == message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.rot=x", "command line: unknown key 'data.rot'; did you mean 'data.root'?"),
        ("a..b=1",
         "command line: unknown key 'a'; known here: run_dir, seed, data, model, loss, stages, optimizer, "
         "trainer, evaluation"),
        ("data.root=", "command line: data.root: expected at least 1 character, found ''"),
        ("run_dir.x=1", "'run_dir.x=1': run_dir is a single value and has no keys of its own"),
        ("data.image_size.0.1=3",
         "'data.image_size.0.1=3': data.image_size.0 is a single value and has no keys of its own"),
        ("stages.2.epochs=3", "'stages.2.epochs=3': stages is a list of 2; its entries are 0 to 1"),
        ("stages.-1.epochs=3", "'stages.-1.epochs=3': stages is a list of 2; its entries are 0 to 1"),
        ("stages.last.epochs=3", "'stages.last.epochs=3': stages is a list of 2; its entries are 0 to 1"),
        ("stages.\u00b2.epochs=3", "'stages.\u00b2.epochs=3': stages is a list of 2; its entries are 0 to 1"),
        ("data.image_size.2=3", "'data.image_size.2=3': data.image_size is a list of 2; its entries are 0 to 1"),
        ("data.val_subjects.0=S1", "'data.val_subjects.0=S1': data.val_subjects is not in the file; set it as a whole: "
         "data.val_subjects=[...]"),
        ("trainer.batch_size", "'trainer.batch_size': expected key=value, for example trainer.batch_size=64"),
        ("=3", "'=3': expected key=value, for example trainer.batch_size=64"),
        ("seed=*x", "command line, seed:1: anchors and aliases are not used here; write the value out"),
        ("seed=[", "command line, seed:1: not valid YAML: expected the node content, but found '<stream end>'"),
        ("base=f.yaml",
         "command line: base: only a file that is named on the command line has one; write the values out"),
        ("stages.0.lr=1", "command line: unknown key 'stages.0.lr'; did you mean 'stages.0.learning_rate'?"),
        ("lr=1", "command line: unknown key 'lr'; did you mean 'stages.0.learning_rate'?"),
        ("batchsize=1", "command line: unknown key 'batchsize'; did you mean 'trainer.batch_size'?"),
        ("trainr.batch_size=1", "command line: unknown key 'trainr'; did you mean 'trainer'?"),
        ("stage.0.epochs=3", "'stage.0.epochs=3': unknown key 'stage'; did you mean 'stages'?"),
        ("stages.1={epoch: 1, learning_rate: 1e-3}",
         "command line: the key 'stages.1.epochs' is missing\n"
         "command line: unknown key 'stages.1.epoch'; did you mean 'stages.1.epochs'?"),
        ("data.image_size=[64]", "command line: data.image_size: expected at least 2 items, not 1, found [64]"),
        ("data.image_size=[64, 100]",
         "command line: data.image_size: expected multiples of the backbone's stride 32; take 96 or 128 for 100, found "
         "[64, 100]"),
        ("data.image_size.1=20",
         "command line: data.image_size: expected multiples of the backbone's stride 32; take 32 for 20, found "
         "[64, 20]"),
        ("model.backbone=resnet17",
         "command line: model.backbone: expected 'resnet18', 'resnet34', 'resnet50', 'resnet101', "
         "'resnet152' or timm/NAME, found 'resnet17'"),
        ("model.volume=images", "command line: model.volume: expected 'metric' or 'image', found 'images'; did you "
         "mean 'image'?"),
        ("data.val_subjects=S8,S9",
         "command line: data.val_subjects: expected a list, found 'S8,S9'; put it in brackets: [S8,S9]"),
        ("data.val_subjects=[8]",
         "command line: data.val_subjects.0: expected text, found the number 8; put it in quotation marks: '...'"),
        ("trainer.max_time=90",
         "command line: trainer.max_time: expected a number and h, m or s, for example 23h, found '90'"),
        ("model.volume_depth=1", "command line: model.volume_depth: expected greater than or equal to 2, found 1"),
        ("data.augmentation.scale=[1.2, 0.8]",
         "command line: data.augmentation.scale: expected the lower bound first; take "
         "[0.8, 1.2], found [1.2, 0.8]"),
        ("data.augmentation.scale=[-1, 1]",
         "command line: data.augmentation.scale.0: expected greater than 0, found -1"),
        ("data.epoch_images=7",
         "command line: data.epoch_images 7 is less than trainer.batch_size 32, so an epoch would have no step; set it "
         "to that or more"),
        ("data.augmentation.hue_saturation=[-300, 0]",
         "command line: data.augmentation.hue_saturation.0: expected greater "
         "than or equal to -255, found -300"),
    ],
)  # fmt: skip
def test_a_fault_on_the_command_line(override, message):
    assert error_of(BASE, override) == message


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("run_dir=runs/seeds #1", "runs/seeds #1"), ("run_dir=123", "123"), ("run_dir='x'", "'x'"),
        ("run_dir=a: [b", "a: [b"), ("run_dir=a=b", "a=b"), ("run_dir=null", "null"), ("run_dir= x ", " x "),
        ("data.root=~/h36m", "/home/me/h36m"), ("data.root=~", "/home/me"), ("data.root=a/~", "a/~"),
        ("model.init=1e3", "1e3"), ("model.init=~/m.pt", "/home/me/m.pt"), ("model.init=null", None),
        ("model.pretrained=none", "none"), ("model.pretrained=imagenet", "imagenet"),
        ("trainer.max_time=90m", "90m"), ("trainer.max_time=null", None),
        ("data.val_subjects.0=1", "1"), ("data.val_subjects=[S1, '2']", ["S1", "2"]),
        ("evaluation.root_depth=5000", 5000.0), ("model.volume='image'", "image"), ("seed=7", 7),
    ],
)  # fmt: skip
def test_text_keys_take_the_text_as_it_is(override, value, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    found = load(BASE, "data.val_subjects=[S8]", "model.volume=image", override).config.model_dump()
    for part in override.partition("=")[0].split("."):
        found = found[int(part) if part.isdecimal() else part]
    assert found == value


def test_a_home_folder_in_a_file_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = load(BASE.replace("root: data", "root: ~/data")).config
    assert "root: /home/me/data\n" in to_yaml(config)


def test_heat_maps_of_a_head_that_has_none():
    assert error_of(BASE, "model.head=regression", "stages.1.weights.heatmap=0.5") == (
        "command line: stages.1.weights.heatmap is 0.5, but model.head 'regression' makes no heat maps; set it to 0 or "
        "take model.head 'volumetric'"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.head=planes", "stages.1.weights.heatmap=0.5"],
         "command line: stages.1.weights.heatmap is 0.5, but loss.heatmap.name 'cross_entropy' is on a volume, which "
         "model.head 'planes' does not make; set loss.heatmap.name to jensen_shannon or the weight to 0"),
        (["model.head=axes", "model.decoder=debiased"],
         "command line: model: decoder is 'debiased', which takes the background out of a volume, but head 'axes' has "
         "none; set decoder to soft_argmax or head to volumetric"),
        (["model.head=regression", "model.decoder=debiased"],
         "command line: model: decoder is 'debiased', which takes the background out of a volume, but head "
         "'regression' has none; set decoder to soft_argmax or head to volumetric"),
        (["model.cells_per_feature=2"],
         "command line: model: cells_per_feature is 2, which head 'volumetric' does not use; leave it at 1"),
        (["model.head=axes", "model.head_init_std=0.001"],
         "command line: model: head_init_std is 0.001, which head 'axes' does not use; leave it at 0.02"),
        (["loss.heatmap.sigma_cells=2.0"],
         "command line: loss.heatmap: sigma_cells is 2.0, which 'cross_entropy' does not use; leave it at 1.0"),
        (["loss.heatmap={name: jensen_shannon, radius: 3}"],
         "command line: loss.heatmap: radius is 3, which 'jensen_shannon' does not use; leave it at 5"),
        (["loss.heatmap={name: jensen_shannon, target: one_hot}"],
         "command line: loss.heatmap: target is 'one_hot', which 'jensen_shannon' does not use; leave it at "
         "'gaussian'"),
        (["loss.heatmap={name: jensen_shannon, reduction: mean}"],
         "command line: loss.heatmap: reduction is 'mean', which 'jensen_shannon' does not use; leave it at 'sum'"),
        (["model.init=m.pt", "model.freeze=all_but_last", "optimizer.backbone_factor=0.1"],
         "command line: optimizer.backbone_factor is 0.1, but model.freeze 'all_but_last' trains nothing of the "
         "backbone; leave it at 1.0"),
    ],
)  # fmt: skip
def test_settings_of_heads_and_heat_map_losses_that_would_be_ignored(overrides, message):
    assert error_of(BASE, *overrides) == message


def test_settings_of_heads_and_heat_map_losses_that_fit():
    for head in ("planes", "axes", "volumetric"):
        config = load(BASE, f"model.head={head}", "stages.0.weights.heatmap=0.5", "loss.heatmap.name=jensen_shannon",
                      "loss.heatmap.sigma_cells=2.0").config  # fmt: skip
        assert config.loss.heatmap.sigma_cells == 2
    assert load(BASE, "model.head=axes", "model.cells_per_feature=3").config.volume_shape == (64, 24, 36)
    assert load(BASE, "model.decoder=debiased", "stages.0.weights.heatmap=0.5").config.model.decoder == "debiased"


def test_all_faults_at_once():
    assert error_of("data:\n  root: 3\nstages: []\n").splitlines() == [
        "f.yaml: the key 'run_dir' is missing",
        "f.yaml:2: data.root: expected text, found the number 3; put it in quotation marks: '...'",
        "f.yaml:3: stages: expected at least 1 item, not 0, found []",
    ]


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/demo.yaml").write_text(BASE)
    (tmp_path / "latin.yaml").write_bytes(b"run_dir: \xe9")
    for path, message in (
        ("demo.yaml", "demo.yaml: there is no such configuration file; there are: configs/demo.yaml"),
        ("configs", "configs: is a folder; expected a YAML file"),
        ("latin.yaml", "latin.yaml: cannot be read as UTF-8 text: 'utf-8' codec can't decode byte 0xe9 in position 9: "
         "unexpected end of data"),
        ("latin.yaml/x", "latin.yaml/x: cannot be read as UTF-8 text: [Errno 20] Not a directory: 'latin.yaml/x'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert str(caught.value) == message


def test_where_each_value_came_from():
    rows = dict.fromkeys(load(BASE, "trainer={log_every: 3}", "stages.0.epochs=4", "data.image_size.1=32")
                         .describe().splitlines())  # fmt: skip
    stripped = {" ".join(row.split()) for row in rows}
    assert {
        "run_dir: runs/x # f.yaml:1", "root: data # f.yaml:3", "seed: 0 # default", "log_every: 3 # command line",
        "checkpoint_every: 15m # default",
        "- epochs: 4 # command line", "- epochs: 2 # f.yaml:10", "learning_rate: 0.0001 # f.yaml:11",
        "image_size: [64, 32] # command line", "deconv_channels: [8, 8] # f.yaml:6", "pretrained: null # default",
    } <= stripped  # fmt: skip


def test_the_description_is_a_configuration():
    loaded = load(BASE, "stages.0.weights.heatmap=0.25")
    assert load_config_text(loaded.describe(), "again", []).config == loaded.config


def test_get_one_value():
    loaded = load()
    found = [loaded.get(key) for key in ("run_dir", "data.image_size", "stages.1.epochs", "model.pretrained", "seed")]
    assert found == ["runs/x", "[64, 96]", "2", "null", "0"]
    for key, message in (
        ("data.rot", "there is no key 'data.rot'; did you mean 'data.root'?"),
        ("stages.1.lr", "there is no key 'stages.1.lr'; did you mean 'stages.1.learning_rate'?"),
        ("stages.2.epochs", "there is no key 'stages.2.epochs'"),
        (
            "zzz",
            "there is no key 'zzz'; known here: run_dir, seed, data, model, loss, stages, optimizer, trainer, "
            "evaluation",
        ),
        ("optimizer", "'optimizer' is a section; it has: optimizer.name, optimizer.weight_decay, optimizer.momentum, "
         "optimizer.backbone_factor, optimizer.head_factor"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            loaded.get(key)
        assert str(caught.value) == message


FLOATS = st.floats(min_value=1e-300, max_value=1e300)
TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20) | st.sampled_from(
    [
        "null",
        "true",
        "1",
        "1e-3",
        "no",
        "- a",
        "a: b",
        "a #b",
        " a",
        "'",
        '"',
        "\\",
        "\u2028",
        "\x7f",
        "\U0001f600",
    ]
)


@st.composite
def configs(draw):
    bounds = st.lists(FLOATS, min_size=2, max_size=2).map(sorted)
    stage = st.fixed_dictionaries(
        {"epochs": st.integers(1, 10**9), "learning_rate": FLOATS},
        optional={
            "weights": st.fixed_dictionaries({"integral": FLOATS}, optional={"heatmap": FLOATS}),
            "final_fraction": FLOATS,
            "warmup_steps": st.integers(0, 10**9),
        },
    )
    return Config.model_validate(
        {
            "run_dir": draw(TEXTS),
            "seed": draw(st.integers(0, 2**63 - 1)),
            "data": {
                "root": draw(TEXTS),
                "val_subjects": draw(st.lists(st.text(max_size=5), max_size=3)),
                "val_limit": draw(st.none() | st.integers(1, 10**6)),
                "image_size": draw(st.lists(st.integers(1, 20).map(lambda n: 32 * n), min_size=2, max_size=2)),
                "augmentation": {"contrast": draw(bounds), "brightness": draw(bounds)},
            },
            "model": {
                "pretrained": draw(st.none() | TEXTS),
                "deconv_channels": draw(st.lists(st.integers(1, 512), max_size=4)),
            },
            "stages": draw(st.lists(stage, min_size=1, max_size=3)),
            "trainer": {"channels_last": draw(st.booleans()), "clip_gradient": draw(st.none() | FLOATS)},
        }
    )


@settings(max_examples=60)
@given(configs())
def test_written_and_read_again(config):
    assert load_config_text(to_yaml(config), "again", []).config == config


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_as_windows_saves_them(encoding, tmp_path):
    (tmp_path / "w.yaml").write_bytes(BASE.replace("\n", "\r\n").encode(encoding))
    assert load_config(str(tmp_path / "w.yaml")).config == load().config


def test_a_tab_is_named():
    assert error_of("data:\n\troot: x\n") == "f.yaml:2: not valid YAML: a tab, where YAML is indented with spaces"
