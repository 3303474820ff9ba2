"""Signals at every moment of a run: it ends soon, says how, leaves nothing half, and continues to the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from integral_pose.cli import main as cli
from integral_pose.config.loading import load_config
from integral_pose.experiment import train
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.runs.status import read_status
from integral_pose.runs.stop import stop_signal
from integral_pose.skeleton import HUMAN36M
from tests.fork_server import ForkServer, children, processes
from tests.nested import SPEED, differences

HERE = "tests.training.test_signals"
STATE = ("model", "average", "optimizer", "progress", "meter", "random", "skipped")
SOON_S = 15  # step, save and 2 s on a quiet machine, here with room for a busy one


@pytest.fixture
def experiment(tiny_values: dict[str, Any], write_yaml: Callable[..., Path]) -> Path:
    """Three epochs of two steps, scored after each, with all that has a state."""
    tiny_values["data"]["val_subjects"] = ["S8"]
    tiny_values["stages"] = [{"epochs": 3, "learning_rate": 1e-3, "schedule": "cosine"}]
    tiny_values["trainer"] |= {"ema_decay": 0.5, "log_every": 3}
    tiny_values["evaluation"] |= {"every": 1, "batch_size": 1}
    return write_yaml(tiny_values)


def slow_steps(arguments: list[str]) -> int:
    """Train with steps of a tenth of a second."""
    from integral_pose.training.step import TrainStep

    step = TrainStep.__call__
    TrainStep.__call__ = lambda self, *a: (time.sleep(0.1), step(self, *a))[1]  # type: ignore[method-assign]
    return cli.main(arguments)


def slow_scoring(arguments: list[str]) -> int:
    """Train, or predict, with half a second for each batch to be predicted; says when it begins one."""
    from integral_pose.models.predictor import Predictor

    predict = Predictor.__call__

    def slowly(*a: Any, **k: Any) -> Any:
        print("PREDICTS", flush=True)
        time.sleep(0.5)
        return predict(*a, **k)

    Predictor.__call__ = slowly  # type: ignore[method-assign]
    return cli.main(arguments)


def slow_saving(arguments: list[str]) -> int:
    """Train with a second for each checkpoint, half of it within the file, and steps that do not outrun it."""
    from integral_pose.training.step import TrainStep

    save, step = torch.save, TrainStep.__call__

    def slow_step(*a: Any) -> Any:
        time.sleep(0.5)
        return step(*a)

    TrainStep.__call__ = slow_step  # type: ignore[method-assign]

    def slowly(content: Any, file: Any, **k: Any) -> None:
        print("SAVES", flush=True)
        time.sleep(0.5)
        save(content, file, **k)
        time.sleep(0.5)

    torch.save = slowly
    return cli.main(arguments)


def long_operation(arguments: list[str]) -> int:
    """Train with a step that is one call into a library, of many seconds."""
    from integral_pose.training.step import TrainStep

    def long(self: TrainStep, *a: Any) -> None:
        print("IN THE STEP", flush=True)
        for _ in range(20):
            torch.ones(6000, 6000) @ torch.ones(6000, 6000)

    TrainStep.__call__ = long  # type: ignore[assignment,method-assign]
    return cli.main(arguments)


def no_partial_files(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".unfinished"))]


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 0), (signal.SIGUSR1, 2), (signal.SIGINT, 2)])
def test_in_a_step(number: int, workers: int, experiment: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    """With workers the signal goes to the whole group, as a scheduler or a terminal sends it."""
    run = tmp_path / "run"
    arguments = ["train", str(experiment), f"run_dir={run}", f"data.workers={workers}", "stages.0.epochs=2000"]
    process = fork_server.start(arguments, said=tmp_path / "said", call=f"{HERE}:slow_steps")
    process.wait_alive_until((run / "last.pt").exists)
    time.sleep(0.15)
    sent = time.monotonic()
    process.send(number, group=workers > 0)
    assert process.wait() == 75
    assert time.monotonic() - sent < SOON_S
    assert f"stopped by {signal.Signals(number).name} after step" in process.said
    assert "Traceback" not in process.said
    progress, status = load_checkpoint(run / "last.pt")["progress"], read_status(run)
    assert (status["state"], status["exit_code"], status["step"]) == ("stopped", 75, progress["step"])
    assert (status["num_steps"], status["pid"]) == (4000, process.pid)
    assert "The same command continues from there" in status["message"]
    process.wait_until(lambda: not process.group(), timeout_s=5)
    assert no_partial_files(run)


def test_while_scoring(experiment: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    """It leaves within a batch, and the continued run first finds the score that is missing."""
    whole = train_in_full(experiment, tmp_path / "whole", fork_server)
    run = tmp_path / "run"
    arguments = ["train", str(experiment), f"run_dir={run}"]
    process = fork_server.start(arguments, said=tmp_path / "said", call=f"{HERE}:slow_scoring")
    process.wait_alive_until(lambda: "PREDICTS" in process.said)
    process.send(signal.SIGTERM)
    assert process.wait() == 75
    assert process.said.count("PREDICTS") == 1, "of the two batches only the one under way is finished"
    assert load_checkpoint(run / "last.pt")["progress"]["scored_step"] == -1
    assert fork_server.start(arguments, said=tmp_path / "again").wait() == 0
    assert_same_run(run, whole)


def test_while_saving(experiment: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    whole = train_in_full(experiment, tmp_path / "whole", fork_server)
    run = tmp_path / "run"
    arguments = ["train", str(experiment), f"run_dir={run}", "trainer.checkpoint_every=1"]
    process = fork_server.start(arguments, said=tmp_path / "said", call=f"{HERE}:slow_saving")
    process.wait_alive_until(lambda: process.said.count("SAVES") == 2)
    process.send(signal.SIGUSR1)
    assert process.wait() == 75
    load_checkpoint(run / "last.pt")
    assert no_partial_files(run)
    assert fork_server.start(arguments, said=tmp_path / "again").wait() == 0
    assert_same_run(run, whole)


def test_second_interrupt_ends_at_once(experiment: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    """Even within one long call into a library; the file that is there stays valid."""
    run = tmp_path / "run"
    arguments = ["train", str(experiment), f"run_dir={run}"]
    assert fork_server.start([*arguments, "trainer.max_steps=1"], said=tmp_path / "first").wait() == 0
    before = (run / "last.pt").read_bytes()
    process = fork_server.start([*arguments, "data.workers=1"], said=tmp_path / "said",
                                call=f"{HERE}:long_operation")  # fmt: skip
    process.wait_alive_until(lambda: "IN THE STEP" in process.said)
    process.send(signal.SIGINT, group=True)
    time.sleep(0.3)
    assert process.poll() is None
    sent = time.monotonic()
    process.send(signal.SIGINT, group=True)
    assert process.wait() == 130
    assert time.monotonic() - sent < 1
    assert (run / "last.pt").read_bytes() == before
    status = read_status(run)
    assert (status["state"], status["exit_code"]) == ("failed", 130)
    process.wait_until(lambda: not process.group(), timeout_s=5)


def test_while_importing(experiment: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    command = [sys.executable, "-m", "integral_pose", "train", str(experiment), f"run_dir={tmp_path / 'run'}"]
    for number in (signal.SIGTERM, signal.SIGUSR1):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        time.sleep(1)
        process.send_signal(number)
        assert process.wait(SOON_S) in (75, -number)
    assert not (tmp_path / "run").exists()


def test_while_predicting_and_rendering(experiment: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    run = train_in_full(experiment, tmp_path / "run", fork_server)
    process = fork_server.start(["test", str(run)], said=tmp_path / "said", call=f"{HERE}:slow_scoring")
    process.wait_alive_until(lambda: "PREDICTS" in process.said)
    process.send(signal.SIGTERM)
    assert process.wait() == 75
    assert "test: stopped by SIGTERM; no file was left half written" in process.said
    assert not (run / "predictions.csv").exists()

    out = tmp_path / "rendered" / "set"
    arguments = ["prepare", "synthetic", "--out", str(out), "--train", "5000", "--workers", "2"]
    process = fork_server.start(arguments, said=tmp_path / "rendering")
    process.wait_alive_until(lambda: len(list(tmp_path.glob("rendered/.set.*/set/images/*"))) > 3)
    process.send(signal.SIGTERM, group=True)
    assert process.wait() == 75
    process.wait_until(lambda: not process.group(), timeout_s=5)
    assert [path.name for path in out.parent.iterdir()] == [".set.unfinished"]  # which the same command goes on from


def test_csv_is_whole_or_not_there(tmp_path: Path, fork_server: ForkServer) -> None:
    process = fork_server.start([str(tmp_path / "p.csv")], said=tmp_path / "said", call=f"{HERE}:writes_a_long_csv")
    process.wait_alive_until(lambda: any(path.stat().st_size > 0 for path in tmp_path.glob(".p.csv.*.tmp")))
    process.send(signal.SIGTERM)
    assert process.wait() == 75
    assert sorted(path.name for path in tmp_path.iterdir()) == ["said"]


def writes_a_long_csv(arguments: list[str]) -> int:
    import numpy as np

    from integral_pose.evaluation.predictions_csv import write_predictions_csv
    from integral_pose.runs.stop import Signalled, signals_as_errors

    try:
        with signals_as_errors():
            write_predictions_csv(Path(arguments[0]), np.ones((300_000, 17, 3)), HUMAN36M)
    except Signalled as error:
        return error.exit_code
    return 0


def test_time_limit(experiment: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    run = tmp_path / "run"
    arguments = ["train", str(experiment), f"run_dir={run}", "stages.0.epochs=2000", "trainer.max_time=1s"]
    process = fork_server.start(arguments, said=tmp_path / "said", call=f"{HERE}:slow_steps")
    assert process.wait() == 75
    assert "stopped by trainer.max_time after step" in process.said
    assert load_config(str(experiment), ["trainer.max_time=1.5h"]).config.trainer.max_seconds == 5400


def test_workers_end_with_a_killed_process(experiment: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    arguments = ["train", str(experiment), f"run_dir={tmp_path / 'run'}", "data.workers=2", "stages.0.epochs=2000"]
    process = fork_server.start(arguments, said=tmp_path / "said", call=f"{HERE}:slow_steps")
    process.wait_alive_until(lambda: (tmp_path / "run/last.pt").exists() and len(process.group()) >= 2)
    process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.wait_until(lambda: not process.group(), timeout_s=2)


def test_renderers_end_with_a_killed_process(tmp_path: Path, fork_server: ForkServer) -> None:
    out = tmp_path / "set"
    arguments = ["prepare", "synthetic", "--out", str(out), "--train", "5000", "--workers", "2"]
    process = fork_server.start(arguments, said=tmp_path / "said")
    process.wait_alive_until(lambda: len(list(tmp_path.glob(".set.*/set/images/*"))) > 3)
    process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.wait_until(lambda: not [pid for pid in process.group() if _renders(pid)], timeout_s=SOON_S)


def _renders(pid: int) -> bool:
    """Python's own helper that counts semaphores ends by itself a little later."""
    command = Path(f"/proc/{pid}/cmdline")
    return command.exists() and b"resource_tracker" not in command.read_bytes()


@pytest.mark.usefixtures("tiny_backbone")
def test_status_of_runs_that_end_by_themselves(experiment: Path, tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    assert cli.main(["status", str(run)]) == 5
    train(load_config(str(experiment), [f"run_dir={run}"]).config)
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["exit_code"], status["step"], status["num_steps"]) == ("done", 0, 6, 6)
    capsys.readouterr()
    assert cli.main(["status", str(run)]) == 0
    assert capsys.readouterr().out == "done\n"
    assert cli.main(["train", str(experiment), f"run_dir={run}", "data.root=nowhere"]) == 3
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 3)
    assert status["message"].startswith("data.root nowhere: there is no such folder")
    assert cli.main(["status", str(run)]) == 3
    # Another experiment's folder is not ours to write to.
    assert cli.main(["train", str(experiment), f"run_dir={run}", "seed=7"]) == 5
    assert json.loads((run / "status.json").read_text()) == status


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    with stop_signal() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop
        assert stop.name == "SIGUSR1"
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before
    assert signal.set_wakeup_fd(-1) == -1


def train_in_full(experiment: Path, run: Path, fork_server: ForkServer) -> Path:
    assert fork_server.start(["train", str(experiment), f"run_dir={run}"], said=run.with_suffix(".said")).wait() == 0
    return run


def assert_same_run(run: Path, whole: Path) -> None:
    found, expected = load_checkpoint(run / "last.pt"), load_checkpoint(whole / "last.pt")
    assert differences({p: found[p] for p in STATE}, {p: expected[p] for p in STATE}) == []
    rows, expected_rows = (
        [{k: v for k, v in row.items() if k not in SPEED} for row in read_metrics(folder / "metrics.jsonl")]
        for folder in (run, whole)
    )
    assert rows == expected_rows


def test_no_process_is_left(fork_server: ForkServer) -> None:
    """The helper that the tests above ask can see a process."""
    assert os.getpid() in processes()
    assert os.getpid() in children(os.getppid())
