"""The file format of checkpoints and model files: written whole, loaded without running code, damage found."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from integral_pose.errors import CheckpointError, DataError
from integral_pose.io.atomic import atomic_write
from integral_pose.io.plain import size_bytes, to_plain
from integral_pose.io.tensor_file import load_tensors
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


def save_checkpoint(
    path: Path, content: dict[str, Any], *, before_replacing: Callable[[], None] = lambda: None
) -> None:
    """Write plain types and tensors so that at every moment a whole file lies at `path`.

    The file is read back and its checksum verified before it takes its place; `before_replacing` is called between.
    Raises OSError where there is no room or no way to write.
    """
    plain = to_plain({"format": FORMAT, **content})

    def verify(written: Path) -> None:
        if not _has_right_checksum(written):
            raise OSError(f"{written}: has lost its checksum")
        before_replacing()

    with atomic_write(path, needs_bytes=size_bytes(plain) + 65536, before_replacing=verify) as file:
        _write(plain, file)


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
    except DataError as error:
        raise CheckpointError(f"{error}; it is not loaded") from None
    except CheckpointError:
        raise
    except Exception as error:  # zipfile and zlib raise anything on damaged bytes
        raise CheckpointError(f"{path}: is damaged or no checkpoint that can be loaded safely: {error}") from None
    content = load_tensors(path)
    if not isinstance(content, dict) or content.get("format") not in (FORMAT, FORMAT_WITHOUT_CHECKSUM):
        raise CheckpointError(f"{path}: is not a checkpoint of this program (expected the format '{FORMAT}')")
    if content["format"] == FORMAT and not has_checksum:
        raise CheckpointError(f"{path}: is damaged: the checksum at its end has changed since it was written")
    return content


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
