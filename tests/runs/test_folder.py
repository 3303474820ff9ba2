from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from integral_pose.errors import CheckpointError, OutputError
from integral_pose.runs.folder import RunFolder, read_metrics
from integral_pose.training.meter import Meter


def test_start_explains_the_run_and_drops_rows_beyond_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", writes=True)
    folder.open()
    folder.start("seed: 3\n", seed=3, device="cpu", step=0)
    for step in (1, 2, 3):
        folder.log(step, "train", {"loss": step / 2})
    folder.close()
    with folder.metrics.open("a") as file:
        file.write('{"step": 4, "gro')  # a kill in the middle of a line
    folder.start("seed: 3\n", seed=3, device="cpu", step=2)
    folder.log(3, "val", {"mpjpe_mm": 7.0})
    folder.close()
    assert read_metrics(folder.metrics) == [
        {"step": 1, "group": "train", "loss": 0.5},
        {"step": 2, "group": "train", "loss": 1.0},
        {"step": 3, "group": "val", "mpjpe_mm": 7.0},
    ]
    assert (folder.path / "config.yaml").read_text() == "seed: 3\n"
    starts = json.loads((folder.path / "provenance.json").read_text())
    assert [start["start_step"] for start in starts] == [0, 2]
    assert starts[0]["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"command", "time_utc", "git_commit", "python", "seed"} <= starts[0].keys()


def test_pictures_and_scalars_reach_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = RunFolder(tmp_path, writes=True)
    folder.start("", seed=0, device="cpu", step=0)
    folder.log(5, "train", {"loss": 0.25})
    folder.show(5, "poses", np.full((4, 6, 3), 200, np.uint8))
    folder.close()
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("train/loss")] == [(5, 0.25)]
    assert [(image.step, image.width, image.height) for image in board.Images("poses")] == [(5, 6, 4)]
    assert Image.open(tmp_path / "pictures" / "poses_step0000005.png").size == (6, 4)


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", writes=False)
    folder.start("", seed=0, device="cpu", step=0)
    folder.log(1, "train", {"loss": 1.0})
    folder.show(1, "poses", np.zeros((2, 2, 3), np.uint8))
    folder.close()
    assert not (tmp_path / "run").exists()


class Full:
    """In place of something that writes, while the disk is full."""

    def __init__(self, working: Any) -> None:
        self.working, self.is_full = working, True

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.working(*arguments, **options)


def test_a_full_disk_is_said_once_and_rows_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run", writes=True)
    folder.open()
    folder.start("", seed=0, device="cpu", step=0)
    folder.log(1, "train", {"loss": 1.0})
    opening, board, saving = Full(Path.open), Full(folder._board.add_scalar), Full(Image.Image.save)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *arguments, **options: opening(*arguments, **options))
        patch.setattr(folder._board, "add_scalar", board)
        patch.setattr(Image.Image, "save", lambda *arguments, **options: saving(*arguments, **options))
        for step in (2, 3):
            folder.log(step, "train", {"loss": 1.0 / step})
            folder.show(step, "poses", np.zeros((2, 2, 3), np.uint8))
    folder.log(4, "train", {"loss": 0.25})
    folder.close()
    said = capsys.readouterr().err
    for what in ("metrics.jsonl cannot", "pictures cannot", "TensorBoard's file cannot"):
        assert said.count(f"{what} be written: [Errno 28] No space left on device. Training goes on without it") == 1
    assert [row["step"] for row in read_metrics(folder.metrics)] == [1, 2, 3, 4]


def test_half_a_row_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path, writes=True)
    folder.log(1, "train", {"loss": 1.0})
    opened = Path.open

    def fills_up(path: Path, *arguments: Any, **options: Any) -> Any:
        file = opened(path, *arguments, **options)
        write = file.write

        def half(text: str) -> None:
            write(text[: len(text) // 2])
            file.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

        file.write = half
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fills_up)
        folder.log(2, "train", {"loss": 0.5})
    folder.log(3, "train", {"loss": 0.25})
    assert [row["loss"] for row in read_metrics(folder.metrics)] == [1.0, 0.5, 0.25]


# TensorBoard's own thread dies of it, which it says.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_vanished_folder_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(tmp_path / "run", writes=True)
    folder.open()
    folder.start("", seed=0, device="cpu", step=0)
    shutil.rmtree(tmp_path / "run")
    for step in (1, 2):
        folder.log(step, "train", {"loss": 1.0})
    folder.close()
    assert capsys.readouterr().err.count("metrics.jsonl cannot be written: [Errno 2] No such file or directory") == 1


def test_a_folder_in_use_for_something_else_is_left_alone(tmp_path: Path) -> None:
    def opened(*names: str) -> None:
        run = tmp_path / "-".join(names)
        run.mkdir()
        for name in names:
            (run / name).touch()
        folder = RunFolder(run, writes=True)
        try:
            folder.open()
        finally:
            folder.close()
            assert {path.name for path in run.iterdir()} == set(names)

    opened("slurm-12.out", "nohup.log", ".hidden")
    opened("config.yaml", "metrics.jsonl", "provenance.json", "curves.png", "status.json")  # died before a checkpoint
    opened("last.pt", "predictions.csv")
    opened("previous.pt", "notes.txt")
    with pytest.raises(
        CheckpointError, match=r"is in use for something else: it holds notes\.txt, and no checkpoint\. C"
    ):
        opened("notes.txt")
    with pytest.raises(CheckpointError, match=r"it holds a, b, c, d, e and 1 more, and no checkpoint"):
        opened(*"abcdef")
    with pytest.raises(
        CheckpointError, match=r"holds best\.pt, but no last\.pt to continue from\. Choose another folder"
    ):
        opened("best.pt")


def test_leftovers_of_a_killed_run_are_removed_by_whoever_holds_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = ".last.pt.0123456789ab.tmp", ".predictions.csv.0123456789ab.tmp"
    for name in (ours, theirs):
        (tmp_path / name).touch()
    RunFolder(tmp_path, writes=False).open()
    assert (tmp_path / ours).exists()
    folder = RunFolder(tmp_path, writes=True)
    folder.open()
    folder.close()
    assert {path.name for path in tmp_path.iterdir()} == {theirs}
    assert f"removed what a killed run left half written: {ours}" in capsys.readouterr().err


def test_a_start_that_cannot_be_recorded_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path, writes=True)
    monkeypatch.setattr("integral_pose.runs.folder.write_text_atomic", Full(None))
    with pytest.raises(OutputError, match="cannot be written: .*No space left on device"):
        folder.start("", seed=0, device="cpu", step=0)


def test_provenance_without_git_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = RunFolder(tmp_path / "run", writes=True)
    folder.open()
    folder.start("", seed=0, device="cpu", step=0)
    folder.close()
    start = json.loads((folder.path / "provenance.json").read_text())[0]
    assert (start["git_commit"], start["git_changes"]) == (None, None)


@pytest.mark.parametrize("damaged", [b"", b'[{"seed"', b'{"seed": 3}', b"\xff\xfe"])
def test_a_damaged_provenance_does_not_stop_a_run(
    damaged: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run", writes=True)
    folder.open()
    provenance = folder.path / "provenance.json"
    provenance.write_bytes(damaged)
    folder.start("", seed=0, device="cpu", step=7)
    folder.close()
    assert [start["start_step"] for start in json.loads(provenance.read_text())] == [7]
    assert provenance.with_name("provenance.json.damaged").read_bytes() == damaged
    assert "provenance.json: is no list of starts; kept as provenance.json.damaged" in capsys.readouterr().err
    folder.open()  # what was set aside is the run's own too
    folder.close()


def test_meter_goes_through_a_checkpoint_unchanged() -> None:
    meter, device = Meter(), torch.device("cpu")
    meter.add({"loss": torch.tensor(0.1), "norm": torch.tensor(3.0)})
    meter.add({"loss": torch.tensor(0.2), "norm": torch.tensor(5.0)})
    other = Meter()
    other.restore(meter.state(), device)
    for both in (meter, other):
        both.add({"loss": torch.tensor(0.6), "norm": torch.tensor(1.0)})
    means = {name: value.item() for name, value in meter.means().items()}
    assert means == {name: value.item() for name, value in other.means().items()}
    assert round(means["loss"], 6) == 0.3
    assert means["norm"] == 3.0
    meter.reset()
    assert meter.state() == {"sums": {}, "count": 0}


def test_meters_of_other_processes_are_shared_out_so_that_the_mean_over_all_stays() -> None:
    states = [{"sums": {"loss": 2.0}, "count": 4}, {"sums": {"loss": 6.0}, "count": 4}]
    assert [Meter.share(states, rank, 2) for rank in (0, 1)] == states
    assert [Meter.share(states, rank, 3) for rank in range(3)] == [{"sums": {"loss": 4.0}, "count": 4}] * 3
