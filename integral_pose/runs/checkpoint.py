"""The checkpoints of a run folder: generations of last.pt, which one to continue from or to use, generators' state."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

from integral_pose.errors import CheckpointError, UnreadableCheckpointError
from integral_pose.io.checkpoint_file import load_checkpoint, save_checkpoint


def save_with_predecessors(last: Path, content: dict[str, Any], keep: int) -> None:
    """`save_checkpoint` that keeps so many predecessors as previous.pt, previous2.pt, ... beside `last`."""
    save_checkpoint(last, content, before_replacing=lambda: _age(last, keep))
    for older in previous_checkpoints(last)[keep:] if keep else ():
        older.unlink()


class ResumePoint(NamedTuple):
    """A checkpoint to continue from, and what is wrong with newer ones that were passed over."""

    path: Path
    content: dict[str, Any]
    damaged: dict[Path, str]


def load_newest(last: Path) -> ResumePoint | None:
    """The newest whole one of `last` and its predecessors; None where there is none of them at all.

    Raises CheckpointError if none of those that are there can be used, or one cannot be read just now.
    """
    damaged: dict[Path, str] = {}
    for path in (last, *previous_checkpoints(last)):
        if path.exists():
            try:
                return ResumePoint(path, load_checkpoint(path), damaged)
            except UnreadableCheckpointError:
                raise
            except CheckpointError as error:
                damaged[path] = str(error)
    if damaged:
        raise CheckpointError(
            "\n".join([*damaged.values(), f"No checkpoint in {last.parent} can be used; move the folder away to start "
                       "anew, or copy a whole last.pt into it"])
        )  # fmt: skip
    return None


def previous_checkpoints(last: Path) -> list[Path]:
    """Predecessors of `last` that are there, the newest first."""
    found, age = [], 1
    while (path := _previous(last, age)).exists():
        found.append(path)
        age += 1
    return found


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
    """The file that `path`, a run folder or a checkpoint, stands for: best.pt before last.pt before previous.pt."""
    if path.is_dir():
        for name in ("best.pt", "last.pt", "previous.pt"):
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


def _previous(last: Path, age: int) -> Path:
    return last.with_name("previous.pt" if age == 1 else f"previous{age}.pt")


def _age(last: Path, keep: int) -> None:
    """Give `last` a second name as its own predecessor; there is a whole `last` at every moment."""
    if not keep or not last.exists():
        return
    for age in range(keep, 1, -1):
        if _previous(last, age - 1).exists():
            _previous(last, age - 1).replace(_previous(last, age))
    linked = last.with_name(f".previous.pt.{os.urandom(6).hex()}.tmp")
    try:
        linked.hardlink_to(last)
    except OSError:  # a file system without hard links: for a moment only the predecessor is there
        last.replace(_previous(last, 1))
    else:
        linked.replace(_previous(last, 1))
        linked.unlink(missing_ok=True)  # a rename between two names of one file does nothing
