"""Which device and which arithmetic a run uses."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from integral_pose.errors import ConfigError, OutOfMemoryError

DEVICE_FILES = Path("/dev")
PCI_DEVICES = Path("/sys/bus/pci/devices")
TO_THE_CPU = "To work on the CPU, say so: trainer.device=cpu, or --device cpu for commands without a configuration"


def choose_device(name: str) -> torch.device:
    """'auto', 'cpu' or 'cuda' -> the device of this process.

    Raises ConfigError where there is no such device, and where the machine has an NVIDIA GPU that PyTorch cannot use:
    a run of days must not fall to the CPU by itself.
    """
    if name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        index = int(os.environ.get("LOCAL_RANK", "0"))
        _require_usable(index)
        return torch.device("cuda", index)
    reason = why_no_gpu()
    if name == "cuda" or reason.is_fault:
        raise ConfigError(f"{reason.text}. {TO_THE_CPU}")
    return torch.device("cpu")


def count_processes(name: str) -> int:
    """How many processes train on this machine: one for each GPU that PyTorch can use, one alone on the CPU."""
    return torch.cuda.device_count() if choose_device(name).type == "cuda" else 1


def device_name(device: torch.device) -> str:
    """'cpu', or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def describe_device(device: torch.device) -> str:
    """Its name for messages, with the reason where it is the CPU for want of a GPU."""
    if device.type == "cuda":
        return f"{device_name(device)} ({device})"
    return "the CPU" if torch.cuda.is_available() else f"the CPU ({why_no_gpu().text})"


class NoGpu(NamedTuple):
    """Why PyTorch finds no GPU, and whether that is a fault of the machine, to be mended before a run."""

    text: str
    is_fault: bool


def why_no_gpu() -> NoGpu:
    """Asked where torch.cuda.is_available() is false."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return NoGpu(f"CUDA_VISIBLE_DEVICES={visible} hides every GPU", False)
    if torch.version.cuda is None:
        return NoGpu(f"PyTorch {torch.__version__} has no CUDA", False)
    if nodes := sorted(path.name for path in DEVICE_FILES.glob("nvidia[0-9]*")):
        return NoGpu(
            f"this machine has a GPU ({', '.join(nodes)}), but PyTorch {torch.__version__} cannot use it: it is built "
            f"for CUDA {torch.version.cuda}, which needs an NVIDIA driver of {_oldest_driver(torch.version.cuda)}; "
            "nvidia-smi prints the one that is here",
            True,
        )
    if cards := [path.parent.name for path in PCI_DEVICES.glob("*/vendor") if _is_nvidia_gpu(path)]:
        # Containers see the cards of their host, so this alone is no reason to refuse.
        return NoGpu(
            f"there is an NVIDIA GPU ({', '.join(sorted(cards))}) without a driver; on a machine of your own install "
            "one, in a container give it the GPU (docker run --gpus all)",
            False,
        )
    return NoGpu("PyTorch finds no CUDA device here", False)


def _require_usable(index: int) -> None:
    """Raise ConfigError where GPU `index` of this machine does not exist or this PyTorch has no kernels for it."""
    found = torch.cuda.device_count()
    if index >= found:
        raise ConfigError(
            f"process {index} of this machine has no GPU of its own: PyTorch finds {found}; start as many processes, "
            "as run_train.sh does"
        )
    major, minor = torch.cuda.get_device_capability(index)
    compiled = torch.cuda.get_arch_list()
    if not any(_runs_on(name, major, minor) for name in compiled):
        raise ConfigError(
            f"{torch.cuda.get_device_name(index)} has compute capability {major}.{minor}, but PyTorch "
            f"{torch.__version__} is built for {', '.join(compiled)}: install a build for it (pytorch.org), or take "
            f"another GPU. {TO_THE_CPU}"
        )


def _runs_on(compiled: str, major: int, minor: int) -> bool:
    """Whether what was compiled for `compiled` runs on a GPU of this capability.

    Machine code (sm_86) runs on the same major version from its minor on, PTX (compute_90) on all that is newer;
    with a letter behind it (sm_90a) on that very one.
    """
    kind, _, version = compiled.partition("_")
    digits = version.rstrip("af")
    built = int(digits[:-1]), int(digits[-1])
    if digits != version:
        return built == (major, minor)
    return built <= (major, minor) if kind == "compute" else built[0] == major and built[1] <= minor


def _oldest_driver(cuda: str) -> str:
    """By CUDA's table of minor version compatibility, for Linux."""
    return {"11": "450.80 or newer", "12": "525.60 or newer", "13": "580 or newer"}.get(cuda.split(".")[0], "its age")


def _is_nvidia_gpu(vendor: Path) -> bool:
    try:
        return vendor.read_text().strip() == "0x10de" and (vendor.parent / "class").read_text().startswith("0x03")
    except OSError:
        return False


def choose_precision(name: str, device: torch.device, network: nn.Module) -> torch.dtype:
    """'auto', 'float32' or 'bf16' -> the type of matrix products; auto takes bf16 where it is faster.

    That is where the hardware multiplies in it, but for depthwise convolutions on a CPU, which are slower.
    """
    if name == "auto":
        depthwise = (isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in network.modules())
        is_slower = device.type == "cpu" and any(depthwise)
        name = "bf16" if _multiplies_bf16(device) and not is_slower else "float32"
    return torch.bfloat16 if name == "bf16" else torch.float32


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.system() != "Linux":
        return False
    # torch.cpu has no public question for this in all the releases we support.
    flags = Path("/proc/cpuinfo").read_text("utf-8")
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def explained_shortage(device: torch.device, keys: str) -> Iterator[None]:
    """Inside, a device out of memory raises OutOfMemoryError that says how much was taken and to lower `keys`.

    Nothing is changed without being asked: another batch would be another experiment.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        peak = ""
        if device.type == "cuda":
            total_bytes = torch.cuda.get_device_properties(device).total_memory
            taken_bytes = torch.cuda.max_memory_allocated(device)
            peak = f"; at most {taken_bytes / 2**30:.2f} of {total_bytes / 2**30:.2f} GiB were taken by tensors"
        raise OutOfMemoryError(
            f"{device}: out of memory{peak} ({str(error).splitlines()[0]}). Lower {keys}; or see with nvidia-smi "
            "whether other programs hold memory"
        ) from None
