"""Faults in steps, scores and pictures: what was learnt before them is kept, and what can go on goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integral_pose.config.loading import load_config
from integral_pose.errors import CheckpointError, ConfigError, DataError
from integral_pose.experiment import assembly, train
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.runs.background_writer import BackgroundWriter
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.training.moving_average import MovingAverage
from tests.nested import differences

pytestmark = pytest.mark.usefixtures("tiny_backbone")


@pytest.fixture
def experiment(tiny_values: dict[str, Any], write_yaml: Callable[..., Path], own_course_root: Path) -> Path:
    """Three epochs of two steps, scored after each, on data that a test may damage."""
    tiny_values["data"] |= {"root": str(own_course_root), "val_subjects": ["S8"]}
    tiny_values["stages"] = [{"epochs": 3, "learning_rate": 1e-3}]
    tiny_values["trainer"] |= {"ema_decay": 0.5}
    tiny_values["evaluation"]["every"] = 1
    return write_yaml(tiny_values)


def config_of(yaml: Path, *overrides: str) -> Any:
    return load_config(str(yaml), overrides).config


def damage(root: Path, subject: str) -> Callable[[], None]:
    """Damage an image of a subject; returns what mends it."""
    path = sorted((root / "images").glob(f"{subject}_*"))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    return lambda: path.write_bytes(whole) and None


def test_a_score_that_fails_costs_no_epoch(
    experiment: Path, own_course_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mend = damage(own_course_root, "S8")
    with pytest.raises(DataError, match="S8_"):  # at the end of the run there is no next epoch
        train(config_of(experiment))
    run = Path(config_of(experiment).run_dir)
    said = capsys.readouterr().err
    assert said.count("It is tried again after the next epoch") == 3
    assert "epoch 1: not scored: " in said
    assert load_checkpoint(run / "last.pt")["progress"]["step"] == 6
    mend()
    with pytest.raises(CheckpointError, match="held-out images: .* other sizes - possible with --allow-change"):
        train(config_of(experiment))
    train(config_of(experiment), allow_change=True)
    assert load_checkpoint(run / "last.pt")["progress"]["scored_step"] == 6
    assert [row["step"] for row in read_metrics(run / "metrics.jsonl") if row["group"] == "val"] == [6]


def test_an_epoch_is_on_disk_before_it_is_scored(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(assembly, "score", die)
    with pytest.raises(Killed):
        train(config_of(experiment, "trainer.checkpoint_every=1000"))
    assert load_checkpoint(Path(config_of(experiment).run_dir) / "last.pt")["progress"]["epoch"] == 1


def test_pictures_that_fail_stop_nothing(
    experiment: Path, own_course_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(own_course_root, "S1")
    overrides = ["data.val_subjects=[]", "data.on_bad_image=skip", "trainer.pictures_every=1"]
    run = train(config_of(experiment, *overrides))
    assert load_checkpoint(run / "last.pt")["progress"]["epoch"] == 3
    assert capsys.readouterr().err.count("pictures of samples cannot be written") == 1


@pytest.mark.parametrize("where", ["in the loss", "between steps", "in the data"])
def test_a_fault_costs_no_whole_step(
    where: str, experiment: Path, tmp_path: Path, own_course_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from integral_pose.data.loader import TrainingBatches
    from integral_pose.models.pose_net import PoseNet
    from integral_pose.training.trainer import Trainer

    owner, name = {
        "in the loss": (PoseNet, "forward"), "between steps": (Trainer, "_leave_if_asked"),
        "in the data": (TrainingBatches, "epoch"),
    }[where]  # fmt: skip
    overrides = ["evaluation.every=100", "data.val_subjects=[]"]
    whole = train(config_of(experiment, f"run_dir={tmp_path / 'whole'}", *overrides))
    original, calls = getattr(owner, name), 0

    def fails_after(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        result = original(*arguments, **options)
        calls += 1
        if calls == (4 if where == "between steps" else 3) and where != "in the data":
            raise MemoryError("no room")
        return result if where != "in the data" else cut(result)

    def cut(batches: Any) -> Any:
        yield next(batches)
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fails_after)
        with pytest.raises(MemoryError):
            train(config_of(experiment, *overrides))
    run = Path(config_of(experiment).run_dir)
    steps = {"in the loss": 2, "between steps": 3, "in the data": 1}[where]
    assert load_checkpoint(run / "last.pt")["progress"]["step"] == steps
    train(config_of(experiment, *overrides))
    found, expected = (load_checkpoint(folder / "last.pt") for folder in (run, whole))
    for each in (found, expected):
        del each["config"], each["meter"]
    assert differences(found, expected) == []


def test_a_fault_within_the_update_saves_nothing_half(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(MovingAverage, "update", fail)
    with pytest.raises(MemoryError):
        train(config_of(experiment))
    assert not (Path(config_of(experiment).run_dir) / "last.pt").exists()


@pytest.mark.parametrize(("every", "saves"), [("0.000001s", 6), ("15m", 3), ("null", 3), ("2", 3), ("4", 2)])
def test_checkpoints_come_by_time_or_steps(
    every: str, saves: int, experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, steps = BackgroundWriter.submit, set()

    def counted(self: BackgroundWriter, path: Path, write: Callable[[], None]) -> None:
        if path.name == "last.pt":
            steps.add(write.args[1]["progress"]["step"])  # type: ignore[attr-defined]
        submit(self, path, write)

    monkeypatch.setattr(BackgroundWriter, "submit", counted)
    train(config_of(experiment, f"trainer.checkpoint_every={every}", "data.val_subjects=[]", "evaluation.every=100"))
    assert len(steps) == saves


def test_the_default_is_a_quarter_of_an_hour(experiment: Path) -> None:
    assert config_of(experiment).trainer.checkpoint_seconds == 900
    assert config_of(experiment, "trainer.checkpoint_every=400").trainer.checkpoint_seconds is None
    with pytest.raises(ConfigError, match="expected a number of steps greater than 0, a duration, for example 15m"):
        config_of(experiment, "trainer.checkpoint_every=0")
