"""The file format of checkpoints and model files: written whole, loaded without running code, damage found."""

import errno
import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from integral_pose.errors import CheckpointError, DataError, UnreadableCheckpointError
from integral_pose.io.atomic import atomic_write
from integral_pose.io.numpy_numbers import SAFE_GLOBALS
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
        summed = _Summed(file)
        torch.save(plain, summed)  # type: ignore[arg-type]  # it asks for no more than these two methods
        file.seek(-len(_NO_COMMENT), os.SEEK_CUR)
        file.write(_COMMENT_START + summed.sum.hexdigest().encode())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU. Never runs code from the file.

    Raises CheckpointError if there is none, any bit of it is damaged, or it is not one of ours, and
    UnreadableCheckpointError where that cannot be known, since reading failed.
    """
    with _faults_named(path):
        if not path.exists():
            raise CheckpointError(f"{path}: there is no such checkpoint")
        _refuse_other_kinds(path)
        require_zip(path)  # our own are not compressed, so nothing in them may grow
        has_checksum = _has_right_checksum(path)
        with zipfile.ZipFile(path) as archive:
            if not has_checksum and (member := archive.testzip()):  # from before there were checksums
                raise CheckpointError(f"{path}: is damaged: its part {member} has changed since it was written")
    content = load_tensors(path)
    if not isinstance(content, dict) or content.get("format") not in (FORMAT, FORMAT_WITHOUT_CHECKSUM):
        raise CheckpointError(f"{path}: is not a checkpoint of this program (expected the format '{FORMAT}')")
    if content["format"] == FORMAT and not has_checksum:
        raise CheckpointError(f"{path}: is damaged: the checksum at its end has changed since it was written")
    return content


OTHER_KINDS = {
    ".onnx": "an ONNX file, which holds a graph and not the weights by name",
    ".safetensors": "a safetensors file, which is not read",
    ".pt2": "a torch.export archive, which holds a graph and not the weights by name",
}


def checksum_of(path: Path) -> str:
    """The checksum that a checkpoint ends with; of a file without one, the SHA-256 of its bytes. Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_COMMENT_START) - _DIGEST_BYTES))
        ending = file.read()
        if ending.startswith(_COMMENT_START):
            return ending[len(_COMMENT_START) :].decode("ascii", "replace")
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_tensors(path: Path) -> Any:
    """Plain types and tensors, on the CPU, of a zip archive or of the bare pickles of PyTorch before 1.6.

    Raises CheckpointError where there is no such file, it is damaged, or holds anything else, which it names.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    _refuse_other_kinds(path)
    with _faults_named(path), path.open("rb") as file:
        if file.read(2) == b"PK":
            require_zip(path)
        # Said here, not left to a default: an environment variable can turn the default off, this it cannot.
        with torch.serialization.safe_globals(SAFE_GLOBALS):
            content = torch.load(path, map_location="cpu", weights_only=True)
        _require_backed(content, path)
    return content


def _refuse_other_kinds(path: Path) -> None:
    """Raise CheckpointError where the name says that a file holds a network in a form that is not read."""
    if reason := OTHER_KINDS.get(path.suffix.lower()):
        raise CheckpointError(f"{path}: is {reason}; name the run folder, checkpoint or model file")


def require_state_dict(content: Any, source: Path) -> dict[str, Tensor]:
    """`content`, tensors by name. Raises CheckpointError where it is anything else."""
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise CheckpointError(f"{source}: expected a state dict of tensors")
    return content


def load_weights(model: nn.Module, weights: dict[str, Any], source: Path) -> None:
    """Fill a model. Raises CheckpointError naming what is missing, unknown or of another shape."""
    require_same_shapes(model.state_dict(), weights, source)
    model.load_state_dict(weights)


def require_same_shapes(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: Path) -> None:
    """Raise CheckpointError naming which of `weights` are missing, unknown or of another shape than `own`."""
    missing = [name for name in own if name not in weights]
    unknown = [name for name in weights if name not in own]
    reshaped = [
        f"{name} is {tuple(weights[name].shape)}, the model has {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if not (missing or unknown or reshaped):
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


def _require_backed(content: Any, path: Path) -> None:
    """Raise CheckpointError where a tensor has more elements than are stored: a view can claim any number of them."""
    seen, waiting = set(), [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor) and value.layout == torch.strided:
            claimed_bytes, stored_bytes = value.numel() * value.element_size(), value.untyped_storage().nbytes()
            if claimed_bytes > stored_bytes:
                raise CheckpointError(
                    f"{path}: a tensor in it claims {claimed_bytes:,} bytes, {stored_bytes:,} are stored; it is not "
                    "loaded"
                )
        elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value


class _Summed:
    """A file to write to whose SHA-256 is known at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sum = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sum.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


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


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Inside, whatever a damaged or malicious file raises becomes a CheckpointError that names it."""
    try:
        yield
    except CheckpointError:
        raise
    except DataError as error:
        raise CheckpointError(f"{error}; it is not loaded") from None
    except (OSError, MemoryError) as error:
        # zipfile seeks to where a damaged file says (EINVAL); what gzip finds wrong has no number.
        if isinstance(error, OSError) and error.errno in (None, errno.EINVAL):
            raise CheckpointError(f"{path}: {_refusal(error)}") from None
        reason = error.strerror if isinstance(error, OSError) else "not enough memory"
        raise UnreadableCheckpointError(
            f"{path}: cannot be read: {reason}. Whether it is whole is not known, so nothing is done with it; mend "
            "that (owner, rights, disk, memory), or move the file away to go on without it"
        ) from None
    except Exception as error:  # zipfile, zlib and torch raise anything from EOFError to UnpicklingError
        raise CheckpointError(f"{path}: {_refusal(error)}") from None


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


PLAIN = (bool, int, float, complex, str, bytes, type(None))


def to_plain(value: Any, *, copy: bool = False, where: str = "content") -> Any:
    """The same in dicts, lists, tuples, Python's own scalars and tensors.

    With `copy` the tensors are copies in the memory of the CPU, so that what they came from may change. Raises
    TypeError, naming the place, for anything that `weights_only` loading would refuse. NumPy's scalars, which it
    refuses too, become Python's: a mean that was computed by NumPy must not cost a run its checkpoints.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return value if not copy else value.clone() if value.device.type == "cpu" else value.cpu()
    if isinstance(value, np.generic) and type(value.item()) in PLAIN:
        return value.item()
    if isinstance(value, dict):
        if unknown := [key for key in value if type(key) not in (str, int)]:
            raise TypeError(f"{where} has the key {unknown[0]!r}, expected a text or a whole number")
        return {key: to_plain(item, copy=copy, where=f"{where}[{key!r}]") for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(to_plain(item, copy=copy, where=f"{where}[{i}]") for i, item in enumerate(value))
    raise TypeError(f"{where} is a {type(value).__name__}, which no checkpoint may hold; make it a plain type")


def size_bytes(value: Any) -> int:
    """A bound for the size of the file that holds this plain value."""
    if isinstance(value, torch.Tensor):
        return value.untyped_storage().nbytes() + 1024  # its name, its header and the gap up to it
    if isinstance(value, dict):
        return sum(size_bytes(item) + size_bytes(key) for key, item in value.items()) + 64
    if isinstance(value, list | tuple):
        return sum(map(size_bytes, value)) + 64
    return 4 * len(value) + 64 if isinstance(value, str | bytes) else 64
