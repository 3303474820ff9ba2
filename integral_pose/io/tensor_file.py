"""The one place that opens files of torch.save: none can run code, and none unpacks to far more than it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from integral_pose.errors import CheckpointError, DataError
from integral_pose.io.untrusted import require_zip


def load_tensors(path: Path) -> Any:
    """Plain types and tensors, on the CPU, of a zip archive or of the bare pickles of PyTorch before 1.6.

    Raises CheckpointError where there is no such file, it is damaged, or holds anything else, which it names.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        if _is_zip(path):
            require_zip(path)
        # Said here, not left to a default: an environment variable can turn the default off, this it cannot.
        return torch.load(path, map_location="cpu", weights_only=True)
    except DataError as error:
        raise CheckpointError(f"{error}; it is not loaded") from None
    except Exception as error:  # torch.load raises anything from EOFError to UnpicklingError on foreign bytes
        raise CheckpointError(f"{path}: {_refusal(error)}") from None


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _refusal(error: Exception) -> str:
    blocked = re.search(r"Unsupported global: GLOBAL (\S+)|unsupported GLOBAL (\S+)", str(error))
    if blocked:
        return (
            f"holds {blocked[1] or blocked[2]}, which is no plain data: reading it would run code from the file, and "
            "that is refused. If you trust the file, save its weights alone with the program that wrote it: "
            "torch.save(torch.load(OLD, map_location='cpu')['network'], NEW), or what the key is there"
        )
    if "legacy .tar format" in str(error):
        return "is of PyTorch's oldest form, a tar archive, which is not read; load and save it again with PyTorch 1.x"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"is damaged or no checkpoint that can be loaded safely: {lines[-1] if lines else type(error).__name__}"
