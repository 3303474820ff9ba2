"""Atomic saving, safe loading, and everything that an exact continuation needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from integral_pose.errors import CheckpointError, DataError
from integral_pose.files import atomic_write
from integral_pose.untrusted import require_zip

FORMAT = "integral-pose/1"


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write plain types and tensors so that at every moment a whole file lies at `path`."""
    with atomic_write(path) as file:
        torch.save({"format": FORMAT, **content}, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU. Never runs code from the file.

    Raises CheckpointError if there is none, it is damaged, or it is not one of ours.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such checkpoint")
    try:
        require_zip(path)  # our own are not compressed, so nothing in them may grow
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DataError as error:
        raise CheckpointError(f"{error}; it is not loaded") from None
    except Exception as error:  # torch.load raises anything from EOFError to UnpicklingError on foreign bytes
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: is damaged or no checkpoint that can be loaded safely: {first}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is not a checkpoint of this program (expected the format '{FORMAT}')")
    return content


def load_weights(model: nn.Module, weights: dict[str, Any], source: Path) -> None:
    """Fill a model. Raises CheckpointError naming what is missing, unknown or of another shape."""
    own = model.state_dict()
    faults = [f"missing {name}" for name in own if name not in weights]
    faults += [f"unknown {name}" for name in weights if name not in own]
    faults += [
        f"{name} is {tuple(weights[name].shape)}, the model has {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise CheckpointError(f"{source}: is of another model: {'; '.join(faults[:5])}{more}")
    model.load_state_dict(weights)


def random_state() -> dict[str, Any]:
    """The state of torch's own generators in this process."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Undo what was drawn since `random_state`."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def find_checkpoint(path: Path) -> Path:
    """The file that `path`, a run folder or a checkpoint, stands for: best.pt before last.pt."""
    if path.is_dir():
        for name in ("best.pt", "last.pt"):
            if (path / name).exists():
                return path / name
        raise CheckpointError(f"{path}: holds neither best.pt nor last.pt; was it trained?")
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such run folder or checkpoint")
    return path


def newest_run(runs: Path = Path("runs")) -> Path:
    """The run folder that was written to last."""
    found = [file.parent for name in ("best.pt", "last.pt") for file in runs.glob(f"*/{name}")]
    if not found:
        raise CheckpointError(
            f"{runs}{os.sep}: holds no trained run; train one with ./run_train.sh or name a checkpoint"
        )
    return max(found, key=lambda run: max(file.stat().st_mtime for file in run.glob("*.pt")))
