"""Several processes of which one dies, hangs or fails, and whose launcher is killed: all end, and the run goes on."""

from __future__ import annotations

import errno
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
from integral_pose.errors import DataError, OutOfMemoryError, ProcessLostError
from integral_pose.experiment import assembly, train
from integral_pose.io import distributed
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.io.distributed import Processes
from integral_pose.runs import status as run_status_module
from integral_pose.runs.status import RunStatus, read_status
from integral_pose.training.step import TrainStep
from tests.conftest import write_course
from tests.fork_server import REPOSITORY, ForkServer, environment_of, free_port
from tests.nested import differences
from tests.training.test_signals import SOON_S, no_partial_files

HERE = "tests.io.test_distributed"
SIGNALS = "tests.training.test_signals"


@pytest.fixture
def experiment(tiny_values: dict[str, Any], write_yaml: Callable[..., Path]) -> Path:
    tiny_values["stages"] = [{"epochs": 20, "learning_rate": 1e-3}]
    tiny_values["trainer"] |= {"checkpoint_every": 2, "process_timeout_s": 4.0}
    return write_yaml(tiny_values)


def test_one_dies_or_hangs_and_the_run_goes_on(experiment: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    whole = tmp_path / "whole"
    for process in fork_server.start_two(["train", str(experiment), f"run_dir={whole}"], tmp_path):
        assert process.wait() == 0, process.said
    run = tmp_path / "run"
    arguments = ["train", str(experiment), f"run_dir={run}"]
    for number in (signal.SIGKILL, signal.SIGSTOP):
        reached = step_of(run) + 2
        first, second = fork_server.start_two(arguments, tmp_path, f"{SIGNALS}:slow_steps")
        first.wait_alive_until(lambda: step_of(run) >= reached)  # noqa: B023 - called in this round only
        sent = time.monotonic()
        second.send(number)
        assert first.wait() == 6
        assert time.monotonic() - sent < 4 + SOON_S
        assert "process 1 of 0..1 ended, or was silent for 4 s (reports process 0 on" in first.said, first.said
        assert "The same command continues from the last checkpoint" in first.said
        assert "Traceback" not in first.said
        assert (read_status(run)["state"], read_status(run)["exit_code"]) == ("failed", 6)
        assert no_partial_files(run)
        second.end()
    for process in fork_server.start_two(arguments, tmp_path):
        assert process.wait() == 0, process.said
    found, expected = load_checkpoint(run / "last.pt"), load_checkpoint(whole / "last.pt")
    for part in ("model", "optimizer", "progress"):
        assert differences(found[part], expected[part]) == []


def step_of(run: Path) -> int:
    return int(load_checkpoint(run / "last.pt")["progress"]["step"]) if (run / "last.pt").exists() else 0


def test_the_fault_of_another_process_is_in_the_status(
    experiment: Path, tmp_path: Path, fork_server: ForkServer
) -> None:
    root = write_course(tmp_path / "course")
    for path in sorted((root / "images").iterdir())[::2]:
        path.write_bytes(b"no image")
    arguments = ["train", str(experiment), f"run_dir={tmp_path / 'run'}", f"data.root={root}"]
    first, second = fork_server.start_two(arguments, tmp_path, f"{HERE}:only_the_second_reads_bad_images")
    assert (second.wait(), first.wait()) == (3, 6)
    status = read_status(tmp_path / "run")
    assert (status["exit_code"], status["rank"]) == (3, 1)
    assert "is damaged or no image" in status["message"]


def test_a_slow_first_process_leaves_the_status_of_a_quick_one(tmp_path: Path) -> None:
    first, second = RunStatus(tmp_path, 0), RunStatus(tmp_path, 1)
    first.is_ours = second.is_ours = True
    second.ended(DataError("an image"))
    first.running(0, 10)
    first.ended(ProcessLostError("process 1"))
    assert (read_status(tmp_path)["exit_code"], read_status(tmp_path)["rank"]) == (3, 1)
    time.sleep(0.002)
    again = RunStatus(tmp_path, 0)
    again.is_ours = True
    again.running(0, 10)
    assert read_status(tmp_path)["state"] == "running"


def test_a_status_is_written_although_another_holds_the_folder(tmp_path: Path) -> None:
    mine = RunStatus(tmp_path, 0)
    mine.is_ours = True
    with run_status_module._one_at_a_time(tmp_path):  # as where a second Ctrl-C comes while the status is written
        mine.ended(KeyboardInterrupt())
    assert read_status(tmp_path)["exit_code"] == 130


def test_where_folders_cannot_be_locked_a_status_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_status_module.fcntl, "flock", refuse)
    monkeypatch.setattr(run_status_module.time, "sleep", lambda _: pytest.fail("waited"))
    mine = RunStatus(tmp_path, 0)
    mine.is_ours = True
    mine.running(3, 10)
    assert read_status(tmp_path)["step"] == 3


def only_the_second_reads_bad_images(arguments: list[str]) -> int:
    from integral_pose.data import loader

    if os.environ["RANK"] == "0":
        loader.decode_crop_scaled = lambda *a: None
    return cli.main(arguments)


def test_both_are_stopped_by_a_signal(experiment: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    run = tmp_path / "run"
    arguments = ["train", str(experiment), f"run_dir={run}", "stages.0.epochs=2000"]
    both = fork_server.start_two(arguments, tmp_path, f"{SIGNALS}:slow_steps")
    both[0].wait_alive_until((run / "last.pt").exists)
    sent = time.monotonic()
    both[1].send(signal.SIGTERM)  # one is enough: they agree
    assert [process.wait() for process in both] == [75, 75]
    assert time.monotonic() - sent < SOON_S
    assert read_status(run)["state"] == "stopped"


def launch_two(arguments: list[str]) -> int:
    """As torchrun does: one child a process, and then wait."""
    port = free_port()
    for rank in range(2):
        if os.fork() == 0:
            os.environ.update(environment_of(rank, port))
            from tests.training.test_signals import slow_steps

            sys.exit(slow_steps(arguments))
    os.wait()
    return 0


def test_a_killed_launcher_leaves_no_process(experiment: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    run = tmp_path / "run"
    arguments = ["train", str(experiment), f"run_dir={run}", "stages.0.epochs=2000"]
    launcher = fork_server.start(arguments, said=tmp_path / "said", call=f"{HERE}:launch_two")
    launcher.wait_alive_until((run / "last.pt").exists)
    assert len(launcher.group()) == 2
    launcher.send(signal.SIGKILL)
    launcher.wait_until(lambda: not launcher.group(), timeout_s=SOON_S)
    assert read_status(run)["state"] == "stopped", "they save before they go"


def test_torchrun_passes_the_signal_of_slurm_on(experiment: Path, tmp_path: Path) -> None:
    """SIGUSR1 without the option would kill torchrun and leave its processes behind."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "--signals-to-handle", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2,SIGXCPU",
               "-m", "integral_pose", "train", str(experiment), f"run_dir={run}",
               "stages.0.epochs=2000", "trainer.process_timeout_s=60"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)
    end = time.monotonic() + 200
    while not (run / "last.pt").exists():
        assert process.poll() is None, (tmp_path / "said").read_text()[-2000:]
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    process.wait(60)
    assert (read_status(run)["state"], read_status(run)["exit_code"]) == ("stopped", 75)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.usefixtures("tiny_backbone")
def test_too_little_memory_says_what_to_lower(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee documentation")

    monkeypatch.setattr(TrainStep, "__call__", greedy)
    with pytest.raises(OutOfMemoryError) as error:
        train(load_config(str(experiment)).config)
    assert str(error.value) == (
        "cpu: out of memory (CUDA out of memory. Tried to allocate 20.00 GiB.). Lower trainer.batch_size, or raise "
        "trainer.accumulation_steps; or see with nvidia-smi whether other programs hold memory"
    )


def test_nccl_is_told_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    for name, value in environment_of(1, 1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "end_with_parent", lambda number: None)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: told.update(set=device))
    monkeypatch.setattr(torch.distributed, "rendezvous", lambda *a, **k: iter([(torch.distributed.HashStore(), 1, 2)]))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **k: told.update(k, backend=backend))
    monkeypatch.setattr(torch.distributed, "barrier", lambda: None)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    with distributed.processes("cuda") as group:
        assert (group.rank, group.world) == (1, 2)
    assert (told["backend"], told["device_id"], told["set"]) == ("nccl", torch.device("cuda", 1), told["device_id"])


@pytest.mark.parametrize(("batch_size", "warns"), [(16, True), (32, False)])
def test_small_shares_are_warned_of(
    batch_size: int, warns: bool, experiment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(str(experiment), [f"trainer.batch_size={batch_size}"]).config
    monkeypatch.setattr(assembly, "TrainStep", lambda *a, **k: None)
    model = torch.nn.Linear(1, 1)
    model.space = None
    assembly._build_step(config, model, torch.device("cpu"), Processes(0, 2), None)
    assert ("each process makes its batch statistics of 8 images" in capsys.readouterr().err) == warns
