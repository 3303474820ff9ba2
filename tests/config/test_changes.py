"""What a run may continue with: every key has a class, and what is allowed takes effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from integral_pose.cli.main import main
from integral_pose.config.changes import (
    ASKED_FOR,
    FORBIDDEN,
    FREE,
    Change,
    Position,
    find_changes,
    kind_of,
    why_forbidden,
)
from integral_pose.config.keys import schema_keys
from integral_pose.config.loading import load_config
from integral_pose.errors import CheckpointError
from integral_pose.experiment import train
from integral_pose.io.checkpoint_file import load_checkpoint

SECTIONS = {"data", "data.augmentation", "data.sources", "model", "loss", "loss.heatmap", "stages",
            "stages.*.weights", "optimizer", "trainer", "evaluation"}  # fmt: skip


def schema() -> set[str]:
    return set(schema_keys()) - SECTIONS


def test_every_key_has_one_class() -> None:
    classes = [FREE, ASKED_FOR - {"stages.*"}, FORBIDDEN.keys() - {"data.sources.*"}]
    assert len(schema()) > 60
    assert sorted(key for each in classes for key in each) == sorted(schema())


def test_a_key_without_a_class_is_an_error() -> None:
    assert [kind_of(key) for key in ("data.workers", "stages.3.learning_rate", "stages.1", "seed")] == [
        "free", "asked for", "asked for", "forbidden",
    ]  # fmt: skip
    with pytest.raises(KeyError, match=r"trainer\.new"):
        kind_of("trainer.new")


def stages(*epochs: int, **of_first: Any) -> dict[str, Any]:
    found = [{"epochs": number, "learning_rate": 0.1} for number in epochs]
    found[0] |= of_first
    return {"stages": found}


def test_changes_are_found_by_key_also_in_stages_that_come_and_go() -> None:
    old, new = {"a": {"b": 1, "c": [1, 2]}, **stages(2, 1)}, {"a": {"b": 1, "c": [1, 3]}, **stages(2, 3, 4)}
    assert find_changes(old, new) == [
        Change("a.c", [1, 2], [1, 3]),
        Change("stages.1.epochs", 1, 3),
        Change("stages.2", None, {"epochs": 4, "learning_rate": 0.1}),
    ]
    assert str(find_changes(old, new)[1]) == "stages.1.epochs: 1 there, 3 now"
    assert find_changes(old, old) == []


@pytest.mark.parametrize(
    ("old", "new", "position", "reasons"),
    [
        # two epochs and one; in the middle of the second epoch
        (stages(2, 1), stages(2, 5), Position(1, 3), [None]),
        (stages(2, 1), stages(3, 1), Position(1, 3), [None]),
        (stages(2, 1), stages(1, 1), Position(1, 3), ["of this stage 2 epochs are trained or under way"]),
        (stages(2, 1), stages(1, 1), Position(1, 0), [None]),
        (stages(2, 1), stages(2, 1, learning_rate=0.2), Position(1, 3), [None]),
        (stages(2, 1), stages(2, 1, learning_rate=0.2), Position(2, 0), [None]),  # its next stage has not begun
        (stages(2, 1), stages(2, 1, learning_rate=0.2), Position(2, 1), ["this stage is over"]),
        (stages(2, 1), stages(1, 1), Position(3, 0), ["this stage is over"]),
        (stages(2, 1), stages(2, 1, 1), Position(3, 0), [None]),
        (stages(2, 1), stages(2, 4), Position(3, 0), [None]),
        (stages(2, 1), stages(2), Position(3, 0), ["of this stage 1 epochs are trained or under way"]),
        (stages(2, 1), stages(2), Position(2, 0), [None]),
        (stages(2, 1), stages(7, 7), Position(0, 0), [None, None]),
    ],
)  # fmt: skip
def test_stages_that_are_over_stay_as_they_were(
    old: dict[str, Any], new: dict[str, Any], position: Position, reasons: list[str | None]
) -> None:
    assert [why_forbidden(change, old, new, position) for change in find_changes(old, new)] == reasons


@pytest.mark.usefixtures("tiny_backbone")
def test_what_is_allowed_is_told_noted_and_takes_effect(tiny_yaml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin = ["trainer.max_steps=1", "trainer.ema_decay=0.0"]
    last = train(load_config(str(tiny_yaml), begin).config) / "last.pt"
    new = ["trainer.max_steps=2", "stages.0.learning_rate=5e-4", "optimizer.weight_decay=0.25", "trainer.ema_decay=0.5"]
    new += ["stages.0.weights.heatmap=0.01", "optimizer.backbone_factor=0.5"]
    with pytest.raises(CheckpointError) as error:
        train(load_config(str(tiny_yaml), new).config)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("run: holds a run with other settings:")
    assert "  stages.0.learning_rate: 0.001 there, 0.0005 now - possible with --allow-change" in lines
    assert "  optimizer.backbone_factor: 1.0 there, 0.5 now - possible with --allow-change" in lines
    assert len(lines) == 7
    assert load_checkpoint(last)["progress"]["step"] == 1
    capsys.readouterr()
    assert main(["train", "--allow-change", str(tiny_yaml), *new]) == 0
    said = capsys.readouterr().err
    assert "continuing with another optimizer.weight_decay: 0.0 there, 0.25 now" in said
    assert "continuing with another trainer.max_steps: 1 there, 2 now" in said
    found = load_checkpoint(last)
    assert found["history"] == [
        {"step": 1, "key": "stages.0.weights.heatmap", "old": 0.0, "new": 0.01},
        {"step": 1, "key": "stages.0.learning_rate", "old": 0.001, "new": 0.0005},
        {"step": 1, "key": "optimizer.weight_decay", "old": 0.0, "new": 0.25},
        {"step": 1, "key": "optimizer.backbone_factor", "old": 1.0, "new": 0.5},
        {"step": 1, "key": "trainer.ema_decay", "old": 0.0, "new": 0.5},
    ]
    groups = found["optimizer"]["param_groups"]
    assert [(group["weight_decay"], group["lr"]) for group in groups] == [
        (0.25, 0.00025), (0.25, 0.0005), (0.0, 0.00025), (0.0, 0.0005),  # backbone and head apart
    ]  # fmt: skip
    assert found["optimizer"]["state"][0]["step"] == 2  # it goes on from what it has gathered
    name = "head.to_volume.weight"
    assert torch.equal(found["average"][f"module.{name}"], found["model"][name])  # begins with the weights of now
    # It is this run's configuration now, and what was noted stays.
    train(load_config(str(tiny_yaml), [*new, "trainer.max_steps=3"]).config)
    assert load_checkpoint(last)["history"] == found["history"]


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("trainer.batch_size=2", "trainer.batch_size: 4 there, 2 now - not possible: steps are counted in batches"),
        ("seed=7", "seed: 0 there, 7 now - not possible: it orders the samples"),
        ("model.head=regression", "model.head: 'volumetric' there, 'regression' now - not possible: the weights would"),
        ("stages.0.epochs=1", "stages.0.epochs: 2 there, 1 now - not possible: of this stage 2 epochs are trained"),
    ],
)
def test_what_is_forbidden_stays_so(change: str, reason: str, tiny_yaml: Path) -> None:
    last = train(load_config(str(tiny_yaml), ["trainer.max_steps=3"]).config) / "last.pt"
    before = last.read_bytes()
    config = load_config(str(tiny_yaml), [change]).config
    with pytest.raises(CheckpointError) as error:
        train(config, allow_change=True)
    assert reason in str(error.value)
    assert last.read_bytes() == before


@pytest.mark.usefixtures("tiny_backbone")
def test_a_complete_run_is_lengthened(tiny_yaml: Path) -> None:
    folder = train(load_config(str(tiny_yaml)).config)
    assert load_checkpoint(folder / "last.pt")["progress"]["epoch"] == 2
    more = load_config(str(tiny_yaml), ["stages.0.epochs=3"]).config
    train(more, allow_change=True)
    straight = train(load_config(str(tiny_yaml), ["stages.0.epochs=3", f"run_dir={folder}-straight"]).config)
    found, expected = (load_checkpoint(run / "last.pt") for run in (folder, straight))
    assert found["progress"]["step"] == expected["progress"]["step"] == 6
    assert all(torch.equal(found["model"][name], value) for name, value in expected["model"].items())
