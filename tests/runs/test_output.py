"""Rows, pictures and provenance of a run: what they hold, and that no full disk stops training over them."""

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

from integral_pose.errors import OutputError
from integral_pose.io.distributed import Processes
from integral_pose.runs.folder import RunFolder
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.runs.output import RunOutput
from integral_pose.runs.status import RunStatus

# TensorBoard's own thread dies of a full disk or a vanished folder, maybe only during the next test.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def make_output(path: Path, *, writes: bool = True) -> RunOutput:
    if writes:
        path.mkdir(exist_ok=True)
    return RunOutput(RunFolder(path, writes=writes), RunStatus(path, rank=0), "seed: 3\n", Processes())


def test_start_explains_the_run_and_drops_rows_beyond_it(tmp_path: Path) -> None:
    output = make_output(tmp_path / "run")
    output.start(seed=3, device="cpu", step=0)
    for step in (1, 2, 3):
        output.log(step, "train", {"loss": step / 2})
    output.close()
    with output.folder.metrics.open("a") as file:
        file.write('{"step": 4, "gro')  # a kill in the middle of a line
    output.start(seed=3, device="cpu", step=2)
    output.log(3, "val", {"mpjpe_mm": 7.0})
    output.close()
    assert read_metrics(output.folder.metrics) == [
        {"step": 1, "group": "train", "loss": 0.5},
        {"step": 2, "group": "train", "loss": 1.0},
        {"step": 3, "group": "val", "mpjpe_mm": 7.0},
    ]
    assert (output.folder.path / "config.yaml").read_text() == "seed: 3\n"
    starts = json.loads((output.folder.path / "provenance.json").read_text())
    assert [start["start_step"] for start in starts] == [0, 2]
    assert starts[0]["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"command", "time_utc", "git_commit", "python", "seed"} <= starts[0].keys()


def test_pictures_and_scalars_reach_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    output = make_output(tmp_path)
    output.start(seed=0, device="cpu", step=0)
    output.log(5, "train", {"loss": 0.25})
    output.show(5, "poses", np.full((4, 6, 3), 200, np.uint8))
    output.close()
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("train/loss")] == [(5, 0.25)]
    assert [(image.step, image.width, image.height) for image in board.Images("poses")] == [(5, 6, 4)]
    assert Image.open(tmp_path / "pictures" / "poses_step0000005.png").size == (6, 4)


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    output = make_output(tmp_path / "run", writes=False)
    output.start(seed=0, device="cpu", step=0)
    output.log(1, "train", {"loss": 1.0})
    output.show(1, "poses", np.zeros((2, 2, 3), np.uint8))
    output.close()
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
    output = make_output(tmp_path / "run")
    output.start(seed=0, device="cpu", step=0)
    output.log(1, "train", {"loss": 1.0})
    opening, board, saving = Full(Path.open), Full(output._board.add_scalar), Full(Image.Image.save)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *arguments, **options: opening(*arguments, **options))
        patch.setattr(output._board, "add_scalar", board)
        patch.setattr(Image.Image, "save", lambda *arguments, **options: saving(*arguments, **options))
        for step in (2, 3):
            output.log(step, "train", {"loss": 1.0 / step})
            output.show(step, "poses", np.zeros((2, 2, 3), np.uint8))
    output.log(4, "train", {"loss": 0.25})
    output.close()
    said = capsys.readouterr().err
    for what in ("metrics.jsonl cannot", "pictures cannot", "TensorBoard's file cannot"):
        assert said.count(f"{what} be written: [Errno 28] No space left on device. Training goes on without it") == 1
    assert [row["step"] for row in read_metrics(output.folder.metrics)] == [1, 2, 3, 4]


def test_half_a_row_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = make_output(tmp_path)
    output.log(1, "train", {"loss": 1.0})
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
        output.log(2, "train", {"loss": 0.5})
    output.log(3, "train", {"loss": 0.25})
    assert [row["loss"] for row in read_metrics(output.folder.metrics)] == [1.0, 0.5, 0.25]


def test_a_vanished_folder_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = make_output(tmp_path / "run")
    output.start(seed=0, device="cpu", step=0)
    shutil.rmtree(tmp_path / "run")
    for step in (1, 2):
        output.log(step, "train", {"loss": 1.0})
    output.close()
    assert capsys.readouterr().err.count("metrics.jsonl cannot be written: [Errno 2] No such file or directory") == 1


def test_a_start_that_cannot_be_recorded_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = make_output(tmp_path)
    monkeypatch.setattr("integral_pose.runs.output.write_text_atomic", Full(None))
    with pytest.raises(OutputError, match="cannot be written: .*No space left on device"):
        output.start(seed=0, device="cpu", step=0)


def test_provenance_without_git_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    output = make_output(tmp_path / "run")
    output.start(seed=0, device="cpu", step=0)
    output.close()
    start = json.loads((output.folder.path / "provenance.json").read_text())[0]
    assert (start["git_commit"], start["git_changes"]) == (None, None)


@pytest.mark.parametrize("damaged", [b"", b'[{"seed"', b'{"seed": 3}', b"\xff\xfe"])
def test_a_damaged_provenance_does_not_stop_a_run(
    damaged: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = make_output(tmp_path / "run")
    provenance = output.folder.path / "provenance.json"
    provenance.write_bytes(damaged)
    output.start(seed=0, device="cpu", step=7)
    output.close()
    assert [start["start_step"] for start in json.loads(provenance.read_text())] == [7]
    assert provenance.with_name("provenance.json.damaged").read_bytes() == damaged
    assert "provenance.json: is no list of starts; kept as provenance.json.damaged" in capsys.readouterr().err
    with RunFolder(output.folder.path, writes=True):  # what was set aside is the run's own too
        pass
