"""Which device is taken: never the CPU in silence where the machine has a GPU, and none without kernels for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from integral_pose.cli import main as cli
from integral_pose.config.loading import load_config
from integral_pose.errors import ConfigError
from integral_pose.experiment import train
from integral_pose.experiment.machine_check import check_machine
from integral_pose.io import devices
from integral_pose.io.devices import choose_device, count_processes, describe_device

ARCHITECTURES = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]


@pytest.fixture
def no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a GPU; a test puts one into its folders `dev` and `pci`."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(torch, "__version__", "2.15.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, folder in (("DEVICE_FILES", "dev"), ("PCI_DEVICES", "pci")):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(devices, name, tmp_path / folder)
    return tmp_path


def add_card(folder: Path, address: str, vendor: str, kind: str) -> None:
    card = folder / "pci" / address
    card.mkdir()
    (card / "vendor").write_text(f"{vendor}\n")
    (card / "class").write_text(f"{kind}\n")


def test_a_machine_without_a_gpu_works_on_the_cpu(no_gpu: Path) -> None:
    add_card(no_gpu, "0000:00:02.0", "0x8086", "0x030000")  # of another maker
    add_card(no_gpu, "0000:00:03.0", "0x10de", "0x020000")  # that maker's network card
    assert choose_device("auto") == torch.device("cpu")
    assert count_processes("auto") == 1
    with pytest.raises(ConfigError, match="PyTorch finds no CUDA device here. To work on the CPU, say so: trainer.dev"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_gpu_whose_driver_is_too_old_ends_the_run(name: str, no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (no_gpu / "dev" / "nvidia0").touch()
    (no_gpu / "dev" / "nvidiactl").touch()
    with pytest.raises(ConfigError) as error:
        choose_device(name)
    assert str(error.value) == (
        "this machine has a GPU (nvidia0), but PyTorch 2.15.0 cannot use it: it is built for CUDA 13.2, which needs an "
        "NVIDIA driver of 580 or newer; nvidia-smi prints the one that is here. To work on the CPU, say so: "
        "trainer.device=cpu, or --device cpu for commands without a configuration"
    )
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    if name == "auto":
        assert choose_device("auto") == torch.device("cpu")


def test_the_machine_check_says_so_too(no_gpu: Path) -> None:
    (no_gpu / "dev" / "nvidia3").touch()
    found = next(check for check in check_machine(None, no_gpu) if check.name == "GPU")
    assert found.verdict == "BAD"
    assert "needs an NVIDIA driver of 580 or newer" in found.finding
    assert found.advice.startswith("To work on the CPU")


def test_a_card_without_a_driver_is_named(no_gpu: Path) -> None:
    add_card(no_gpu, "0000:01:00.0", "0x10de", "0x030200")
    assert choose_device("auto") == torch.device("cpu")
    assert "there is an NVIDIA GPU (0000:01:00.0) without a driver" in describe_device(torch.device("cpu"))


@pytest.mark.usefixtures("tiny_backbone")
def test_the_device_is_printed_at_the_start(tiny_yaml: Path, no_gpu: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_card(no_gpu, "0000:01:00.0", "0x10de", "0x030200")
    train(load_config(str(tiny_yaml), ["trainer.max_steps=1"]).config)
    assert "training on the CPU (there is an NVIDIA GPU (0000:01:00.0) without a driver" in capsys.readouterr().err


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[int, int], int], None]:
    """A function that gives this machine GPUs of one capability."""
    monkeypatch.delenv("LOCAL_RANK", raising=False)

    def give(capability: tuple[int, int], number: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Some GPU")
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ARCHITECTURES)

    return give


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 9), (9, 0), (10, 3), (12, 1)])
def test_gpus_that_the_build_has_kernels_for(capability: tuple[int, int], gpus: Callable[..., None]) -> None:
    gpus(capability, 1)
    assert choose_device("auto") == torch.device("cuda", 0)


@pytest.mark.parametrize("capability", [(6, 1), (7, 0), (11, 0), (13, 0)])
def test_gpus_without_kernels_are_refused_by_name(capability: tuple[int, int], gpus: Callable[..., None]) -> None:
    gpus(capability, 1)
    with pytest.raises(ConfigError, match=r"Some GPU has compute capability \d+.\d, but PyTorch .* is built for sm_75"):
        choose_device("auto")


def test_one_process_a_gpu_and_one_alone_on_the_cpu(
    gpus: Callable[..., None], tiny_yaml: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus((9, 0), 4)
    for override, expected in (("trainer.device=auto", "4"), ("trainer.device=cpu", "1")):
        assert cli.main(["processes", str(tiny_yaml), override]) == 0
        assert capsys.readouterr().out.split() == [expected]
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(ConfigError, match="process 4 of this machine has no GPU of its own: PyTorch finds 4"):
        choose_device("auto")
