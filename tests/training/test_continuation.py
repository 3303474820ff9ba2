"""A run that ended anywhere and was continued is the run that did not, bit for bit: all that it knows and wrote."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from integral_pose.config.loading import load_config
from integral_pose.errors import CheckpointError
from integral_pose.experiment import scoring, train
from integral_pose.io.checkpoint_file import load_checkpoint, save_checkpoint
from integral_pose.runs.background_writer import BackgroundWriter
from integral_pose.runs.checkpoint import load_newest
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.training.step import TrainStep
from tests.nested import SPEED, differences

pytestmark = pytest.mark.usefixtures("tiny_backbone")

STEPS_PER_EPOCH, STEPS = 4, 12
FORK = multiprocessing.get_context("fork")


class Killed(BaseException):
    """Stands for a process that ends here and now."""


# name -> (steps made, calls of the scoring begun) when it dies, and data.workers of the continuation
POINTS = {
    "after step 1": (1, None, 0),
    "mid-epoch": (6, None, 1),
    "after the last of an epoch": (4, None, 0),
    "after the first of the next": (5, None, 2),
    "during validation": (None, 2, 0),
    "after the change of stage": (9, None, 0),
}


@pytest.fixture
def experiment(tiny_values: dict[str, Any], write_yaml: Callable[..., Path]) -> Path:
    """Two epochs of four steps and one with the heat map loss, on changed pictures, with all that has a state."""
    tiny_values["data"]["augmentation"] = {"backend": "imgaug"}
    tiny_values["data"]["val_subjects"] = ["S8"]
    tiny_values["stages"] = [
        {"epochs": 2, "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 1},
        {"epochs": 1, "learning_rate": 1e-4, "weights": {"integral": 1.0, "heatmap": 0.01}},
    ]
    tiny_values["trainer"] |= {"batch_size": 2, "ema_decay": 0.5, "checkpoint_every": 1, "log_every": 3}
    tiny_values["trainer"]["clip_gradient"] = 0.5
    tiny_values["evaluation"]["every"] = 1
    return write_yaml(tiny_values)


@contextmanager
def watched(
    monkeypatch: pytest.MonkeyPatch, seen: Path, steps: int | None, scorings: int | None, die: Callable[[], None]
) -> Iterator[None]:
    """Note the samples of each step in `seen`; `die` before the step after `steps` or in the scoring `scorings`."""
    done = {"steps": 0, "scorings": 0}
    step, evaluate, submit = TrainStep.__call__, scoring.score_predictions, BackgroundWriter.submit

    def watched_step(self: TrainStep, batch: Any, *arguments: Any) -> Any:
        if done["steps"] == steps:
            die()
        done["steps"] += 1
        with seen.open("a") as file:
            file.write(json.dumps(batch.indices.tolist()) + "\n")
        return step(self, batch, *arguments)

    def watched_evaluate(*arguments: Any, **named: Any) -> Any:
        done["scorings"] += 1
        if done["scorings"] == scorings:
            die()
        return evaluate(*arguments, **named)

    def submit_and_wait(self: BackgroundWriter, *arguments: Any) -> None:
        submit(self, *arguments)
        self.finish()  # so that the state that is continued from is known

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "__call__", watched_step)
        patch.setattr(scoring, "score_predictions", watched_evaluate)
        patch.setattr(BackgroundWriter, "submit", submit_and_wait)
        yield


def be_killed() -> None:
    raise Killed


def config_of(yaml: Path, run: Path, *overrides: str) -> Any:
    return load_config(str(yaml), [f"run_dir={run}", *overrides]).config


def seen_samples(folder: Path, part: str, world: int = 1) -> list[list[int]]:
    """The samples of each step, of all processes together."""
    ranks = []
    for rank in range(world):
        path = folder.with_name(f"{folder.name}.{part}.{rank}")
        ranks.append([json.loads(line) for line in path.read_text().splitlines()] if path.exists() else [])
    return [sorted(chain(*step)) for step in zip(*ranks, strict=True)]


def train_and_die(
    yaml: Path, run: Path, point: tuple[int | None, int | None, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = run.with_name(f"{run.name}.first.0")
    with watched(monkeypatch, seen, point[0], point[1], be_killed), pytest.raises(Killed):
        train(config_of(yaml, run))


def everything(run: Path) -> dict[str, Any]:
    """All that a run leaves but what tells of its folder and of the clock."""
    checkpoints = {name: load_checkpoint(run / name) for name in ("last.pt", "best.pt", "previous.pt")}
    for name, content in checkpoints.items():
        content.pop("config")  # names the folder, the workers
        # The last two saves of a run that died in its last scoring are of the same step.
        checkpoints[name] = content if name != "previous.pt" else content["progress"]["epoch"]
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    tags = [tag for tag in board.Tags()["scalars"] if tag.split("/")[1] not in SPEED]
    rows = [{k: v for k, v in row.items() if k not in SPEED} for row in read_metrics(run / "metrics.jsonl")]
    scalars = {tag: [[event.step, event.value] for event in board.Scalars(tag)] for tag in tags}
    return {**checkpoints, "rows": rows, "scalars": scalars, "files": sorted(file.name for file in run.iterdir())}


@pytest.fixture
def whole(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An uninterrupted run."""
    run = tmp_path / "whole"
    with watched(monkeypatch, tmp_path / "whole.first.0", None, None, be_killed):
        train(config_of(experiment, run))
    assert load_checkpoint(run / "last.pt")["progress"]["step"] == STEPS
    return run


def test_ended_anywhere_equals_uninterrupted(
    experiment: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, samples = everything(whole), seen_samples(whole, "first")
    assert len(expected["rows"]) == STEPS // 3 + 3
    assert len(expected["scalars"]["train/loss"]) == STEPS // 3
    for name, point in POINTS.items():
        run = tmp_path / name
        train_and_die(experiment, run, point, monkeypatch)
        found = load_newest(run / "last.pt")
        assert found is not None
        start = found.content["progress"]["step"]
        assert start == (point[0] or 2 * STEPS_PER_EPOCH)  # an epoch is saved before it is scored
        with watched(monkeypatch, tmp_path / f"{name}.second.0", None, None, be_killed):
            train(config_of(experiment, run, f"data.workers={point[2]}"))
        assert differences(everything(run), expected) == [], name
        assert seen_samples(run, "first")[:start] + seen_samples(run, "second") == samples


def test_epochs_that_begin_within_a_pass_continue_too(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs of five batches over passes of four; the run is cut in the second of them."""
    longer = ["data.epoch_images=10", "data.augmentation={backend: device}"]
    whole, run = tmp_path / "long", tmp_path / "cut"
    with watched(monkeypatch, tmp_path / "long.first.0", None, None, be_killed):
        train(config_of(experiment, whole, *longer))
    expected = load_checkpoint(whole / "last.pt")
    assert expected["progress"]["step"] == 15
    with watched(monkeypatch, tmp_path / "cut.first.0", 7, None, be_killed), pytest.raises(Killed):
        train(config_of(experiment, run, *longer))
    with watched(monkeypatch, tmp_path / "cut.second.0", None, None, be_killed):
        train(config_of(experiment, run, *longer))
    assert differences({**load_checkpoint(run / "last.pt"), "config": None}, {**expected, "config": None}) == []
    assert seen_samples(run, "first")[:7] + seen_samples(run, "second") == seen_samples(whole, "first")


def cut(content: dict[str, Any], part: str) -> None:
    """Take one part of the state out of a checkpoint's content."""
    if part in ("batch", "epoch"):
        content["progress"][part] = 0
    elif part == "optimizer":
        content["optimizer"]["state"] = {}
    elif part == "meter":
        content["meter"][0]["sums"] = dict.fromkeys(content["meter"][0]["sums"], 0.0)
    elif part == "random":
        content["random"][0]["cpu"] = torch.Generator().manual_seed(1).get_state()
    elif part == "history":
        content["history"] = [{"step": 1}]
    else:
        content[part] = {k: v * 1.01 if v.is_floating_point() else v for k, v in content[part].items()}


def test_comparison_notices_what_a_checkpoint_lacks(
    experiment: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: without any one part of the state the continued run is another."""
    expected, died = everything(whole), tmp_path / "died"
    train_and_die(experiment, died, (5, None, 0), monkeypatch)
    for part in ("model", "average", "optimizer", "batch", "epoch", "meter", "random", "history", "best_mm"):
        run = tmp_path / part
        shutil.copytree(died, run)
        for name in ("last.pt", "best.pt"):
            content = load_checkpoint(run / name)
            if part == "best_mm":
                content["progress"][part] = 0.0
            elif name == "last.pt":
                cut(content, part)
            save_checkpoint(run / name, content)
        train(config_of(experiment, run, "trainer.checkpoint_every=100"))  # saving less changes nothing else
        found = everything(run)
        assert any(differences(found[name], expected[name]) for name in ("last.pt", "best.pt", "rows")), part


def test_a_damaged_newest_costs_a_step_and_nothing_else(
    experiment: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "damaged"
    train_and_die(experiment, run, POINTS["mid-epoch"], monkeypatch)
    data = bytearray((run / "last.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (run / "last.pt").write_bytes(data)
    capsys.readouterr()
    train(config_of(experiment, run))
    said = capsys.readouterr().err
    assert f"{run}/last.pt: is damaged: its bytes have changed since it was written (checksum). Continuing from" in said
    assert f"Continuing from {run}/previous.pt" in said
    assert (run / "last.pt.damaged").read_bytes() == data
    (run / "last.pt.damaged").unlink()
    assert differences(everything(run), everything(whole)) == []


@pytest.mark.parametrize("damage", ["missing", "damaged", "older"])
def test_a_best_that_is_not_what_was_noted_is_made_anew(
    damage: str, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / damage
    train_and_die(experiment, run, POINTS["mid-epoch"], monkeypatch)
    best = load_checkpoint(run / "best.pt")
    content = load_checkpoint(run / "last.pt")
    if damage == "missing":
        (run / "best.pt").unlink()
    elif damage == "damaged":
        (run / "best.pt").write_bytes((run / "best.pt").read_bytes()[:-1])
    else:
        best["progress"]["best_mm"] = 1e6
        save_checkpoint(run / "best.pt", best)
    assert content["progress"]["best_mm"] < 1e5
    evaluate = scoring.score_predictions

    def worse_than_noted(*arguments: Any, **named: Any) -> Any:
        scores = evaluate(*arguments, **named)
        scores.mpjpe_mm = 1e5
        return scores

    monkeypatch.setattr(scoring, "score_predictions", worse_than_noted)
    train(config_of(experiment, run))
    assert load_checkpoint(run / "best.pt")["progress"]["best_mm"] == 1e5


# Several processes. They are forked: each would need ten seconds to import all that this one has.


def in_processes(world: int, work: Callable[[int], None]) -> list[int | None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def child(rank: int) -> None:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
                       "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
        work(rank)

    children = [FORK.Process(target=child, args=(rank,)) for rank in range(world)]
    for each in children:
        each.start()
    for each in children:
        each.join(120)
    return [each.exitcode for each in children]


def train_in_processes(
    world: int, yaml: Path, run: Path, part: str, steps: int | None, scorings: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Train with `world` processes, which all die by themselves where that is asked for."""

    def work(rank: int) -> None:
        with watched(monkeypatch, run.with_name(f"{run.name}.{part}.{rank}"), steps, scorings, lambda: os._exit(9)):
            train(config_of(yaml, run))

    dies = steps is not None or scorings is not None
    assert in_processes(world, work) == [9 if dies else 0] * world


def test_two_processes_ended_anywhere_equal_two_uninterrupted(
    experiment: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = tmp_path / "both"
    train_in_processes(2, experiment, both, "first", None, None, monkeypatch)
    expected, samples = everything(both), seen_samples(both, "first", 2)
    assert samples == seen_samples(whole, "first")  # one process sees the same
    first, second = load_checkpoint(both / "last.pt")["buffers"]
    assert differences(first, second) != []  # each has the batch statistics of its own images
    for name in ("mid-epoch", "during validation", "after the change of stage"):
        run, (steps, scorings, _) = tmp_path / name, POINTS[name]
        train_in_processes(2, experiment, run, "first", steps, scorings, monkeypatch)
        train_in_processes(2, experiment, run, "second", None, None, monkeypatch)
        assert differences(everything(run), expected) == [], name


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_another_number_of_processes_sees_the_same_samples(
    first: int, second: int, experiment: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, steps = tmp_path / "other", 6
    train_in_processes(first, experiment, run, "first", steps, None, monkeypatch)
    train_in_processes(second, experiment, run, "second", None, None, monkeypatch)
    expected = seen_samples(whole, "first")
    assert seen_samples(run, "first", first) == expected[:steps]
    assert seen_samples(run, "second", second) == expected[steps:]
    assert load_checkpoint(run / "last.pt")["progress"]["step"] == STEPS


def test_processes_that_do_not_see_the_same_folder_are_told(experiment: Path, tmp_path: Path) -> None:
    """As on two nodes where run_dir is a disk of each of them."""
    train(config_of(experiment, tmp_path / "0", "trainer.max_steps=1"))

    def work(rank: int) -> None:
        try:
            train(config_of(experiment, tmp_path / str(rank)))
        except CheckpointError as error:
            os._exit(5 if "the processes would continue from different steps [1, None]" in str(error) else 1)

    assert in_processes(2, work) == [5, 5]
