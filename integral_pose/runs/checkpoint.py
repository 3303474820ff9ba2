"""Atomic saving, safe loading, and everything that an exact continuation needs."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from torch import nn

from integral_pose.errors import CheckpointError, DataError
from integral_pose.io.atomic import atomic_write
from integral_pose.io.plain import size_bytes, to_plain
from integral_pose.io.untrusted import require_zip

FORMAT = "integral-pose/2"
FORMAT_WITHOUT_CHECKSUM = "integral-pose/1"
MOST_NAMES_SHOWN = 10

# A checkpoint is a zip archive, as torch writes it, whose comment is a checksum: every bit of the file is covered by
# the SHA-256 of all that torch wrote, or by the text round it being just this.
_DIGEST_BYTES = 64  # in hexadecimal
_COMMENT = b"integral-pose sha256 "
_COMMENT_START = (len(_COMMENT) + _DIGEST_BYTES).to_bytes(2, "little") + _COMMENT
_NO_COMMENT = b"\0\0"  # the length of the comment, with which the archive ends as torch writes it


def save_checkpoint(path: Path, content: dict[str, Any], *, keep_previous: int = 0) -> None:
    """Write plain types and tensors so that at every moment a whole file lies at `path`.

    The file is read back and its checksum verified before it takes its place. So many of its predecessors are
    kept as previous.pt, previous2.pt, ... beside it. Raises OSError where there is no room or no way to write.
    """
    plain = to_plain({"format": FORMAT, **content})

    def verify_and_make_place(written: Path) -> None:
        if not _has_right_checksum(written):
            raise OSError(f"{written}: has lost its checksum")
        _age(path, keep_previous)

    with atomic_write(path, needs_bytes=size_bytes(plain) + 65536, before_replacing=verify_and_make_place) as file:
        _write(plain, file)
    if keep_previous:
        _remove_older(path, keep_previous)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU. Never runs code from the file.

    Raises CheckpointError if there is none, any bit of it is damaged, or it is not one of ours.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such checkpoint")
    try:
        require_zip(path)  # our own are not compressed, so nothing in them may grow
        has_checksum = _has_right_checksum(path)
        if not has_checksum and (member := _damaged_member(path)):
            raise CheckpointError(f"{path}: is damaged: its part {member} has changed since it was written")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DataError as error:
        raise CheckpointError(f"{error}; it is not loaded") from None
    except CheckpointError:
        raise
    except Exception as error:  # torch.load raises anything from EOFError to UnpicklingError on foreign bytes
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: is damaged or no checkpoint that can be loaded safely: {first}") from None
    if not isinstance(content, dict) or content.get("format") not in (FORMAT, FORMAT_WITHOUT_CHECKSUM):
        raise CheckpointError(f"{path}: is not a checkpoint of this program (expected the format '{FORMAT}')")
    if content["format"] == FORMAT and not has_checksum:
        raise CheckpointError(f"{path}: is damaged: the checksum at its end has changed since it was written")
    return content


class Found(NamedTuple):
    """A checkpoint to continue from, and what is wrong with newer ones that were passed over."""

    path: Path
    content: dict[str, Any]
    damaged: dict[Path, str]


def load_newest(last: Path) -> Found | None:
    """The newest whole one of `last` and its predecessors; None where there is none of them at all.

    Raises CheckpointError if none of those that are there can be used.
    """
    damaged: dict[Path, str] = {}
    for path in (last, *previous_checkpoints(last)):
        if path.exists():
            try:
                return Found(path, load_checkpoint(path), damaged)
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


def load_weights(model: nn.Module, weights: dict[str, Any], source: Path) -> None:
    """Fill a model. Raises CheckpointError naming what is missing, unknown or of another shape."""
    own = model.state_dict()
    missing = [name for name in own if name not in weights]
    unknown = [name for name in weights if name not in own]
    reshaped = [
        f"{name} is {tuple(weights[name].shape)}, the model has {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if not (missing or unknown or reshaped):
        model.load_state_dict(weights)
        return
    fitting = len(own) - len(missing) - len(reshaped)
    lines = [f"{source}: is of another model: {fitting} of the {len(own)} tensors of this one fit"]
    for title, names in (("missing", missing), ("unknown", unknown), ("of another shape", reshaped)):
        if names:
            lines.append(f"  {title} ({len(names)}):")
            lines += [f"    {name}" for name in names[:MOST_NAMES_SHOWN]]
            lines += [f"    and {len(names) - MOST_NAMES_SHOWN} more"] if len(names) > MOST_NAMES_SHOWN else []
    lines.append("  Take the section `model` and data.image_size of the run that the file is from; a ResNet alone, "
                 "to begin with, goes into model.pretrained=PATH")  # fmt: skip
    raise CheckpointError("\n".join(lines))


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


class _Summed:
    """A file to write to whose SHA-256 is known at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sum = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sum.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _write(plain: dict[str, Any], file: IO[bytes]) -> None:
    summed = _Summed(file)
    torch.save(plain, summed)  # type: ignore[arg-type]  # it asks for no more than these two methods
    file.seek(-len(_NO_COMMENT), os.SEEK_CUR)
    file.write(_COMMENT_START + summed.sum.hexdigest().encode())


def _has_right_checksum(path: Path) -> bool:
    """False where the file does not end in one. Raises CheckpointError where it is another file's."""
    summed_bytes = path.stat().st_size - len(_COMMENT_START) - _DIGEST_BYTES
    if summed_bytes < 0:
        return False
    found = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(summed_bytes)
        if file.read(len(_COMMENT_START)) != _COMMENT_START:
            return False
        expected = file.read()
        file.seek(0)
        while summed_bytes and (block := file.read(min(summed_bytes, 1 << 20))):
            found.update(block)
            summed_bytes -= len(block)
    found.update(_NO_COMMENT)
    if found.hexdigest().encode() != expected:
        raise CheckpointError(f"{path}: is damaged: its bytes have changed since it was written (checksum)")
    return True


def _damaged_member(path: Path) -> str | None:
    """Name of a part of a zip archive whose CRC is wrong, for files from before there were checksums."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


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


def _remove_older(last: Path, keep: int) -> None:
    for path in previous_checkpoints(last)[keep:]:
        path.unlink()
