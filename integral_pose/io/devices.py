"""Which device and which arithmetic a run uses."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from integral_pose.errors import ConfigError, OutOfMemoryError


def choose_device(name: str) -> torch.device:
    """'auto', 'cpu' or 'cuda' -> the device of this process. Raises ConfigError where there is no such device."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("trainer.device cuda: PyTorch finds no CUDA device here; take trainer.device=cpu or auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


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
