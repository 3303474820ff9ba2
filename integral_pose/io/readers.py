"""Files of other projects, read so that a damaged one is an error that names it, and none can run code."""

import gzip
import importlib
import io
import json
import os
import pickle
import struct
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.config.text import decode_text
from integral_pose.errors import DataError
from integral_pose.io.untrusted import (
    find_dataset,
    gunzip,
    open_hdf5,
    read_regular,
    require_no_bomb,
    require_plain,
    require_zip,
)

LARGEST_PICKLE_BYTES = 1_000_000  # cameras.pkl has 50 kB
_GZIP = b"\x1f\x8b"
_MAT_HEADER_BYTES, _MAT_COMPRESSED = 128, 15

_PICKLE_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # how Python 2 wrote the bytes of an array
}


def optional(package: str) -> ModuleType:
    """A package of the extra `prepare`. Raises DataError saying how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise DataError(
            f"this source needs the package {package.partition('.')[0]}; install it with: "
            "pip install 'integral-pose[prepare]'"
        ) from None


def existing(path: Path, what: str) -> Path:
    """The path itself. Raises DataError where nothing is there."""
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder; it is {what}")
    return path


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file."""
    require_zip(path)
    try:
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    except Exception as error:  # zip, zlib and NumPy each have their own
        raise DataError(f"{path}: is damaged or no .npz file of plain arrays ({error})") from None


def read_pickle(path: Path) -> Any:
    """A pickle of dictionaries, lists, numbers and arrays; anything else in it is refused."""
    try:
        return _PlainUnpickler(io.BytesIO(read_regular(path, LARGEST_PICKLE_BYTES)), encoding="latin1").load()
    except DataError as error:
        raise DataError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path}: is damaged or no pickle ({error})") from None


class _PlainUnpickler(pickle._Unpickler):
    """The one written in Python: in the other a place in the memo, which is a number in the file, takes memory."""

    def load_bytearray8(self) -> None:
        """Bytes of an array, as many as there are; the original sets aside as many as the file says."""
        (size,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(bytearray(self.read(size)))  # type: ignore[attr-defined]

    dispatch = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}  # type: ignore[dict-item]  # noqa: RUF012

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PICKLE_NAMES:
            raise DataError(f"holds {module}.{name}, which could run code and is refused; only plain arrays are read")
        return super().find_class(module, name)


def read_json(path: Path, limit_bytes: int | None = None) -> Any:
    """A JSON file."""
    try:
        return json.loads(read_text(path, limit_bytes))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from None


def read_mat(path: Path, *, as_plain: bool = False) -> dict[str, Any]:
    """The variables of a MATLAB file up to version 7; `as_plain` with dicts for structures."""
    matlab = optional("scipy.io")
    try:
        encoded = read_regular(path)
        require_no_bomb(_claimed_mat_bytes(encoded), len(encoded), str(path))
        content: dict[str, Any] = matlab.loadmat(io.BytesIO(encoded), simplify_cells=as_plain)
    except DataError:
        raise
    except NotImplementedError:
        raise DataError(
            f"{path}: is a MATLAB file of version 7.3, where version 7 or older is expected; in MATLAB: "
            "save(name, '-struct', 'data', '-v7')"
        ) from None
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"{path}: is damaged or no MATLAB file ({error})") from None
    return content


def _claimed_mat_bytes(encoded: bytes) -> int:
    """What the compressed variables of a version 7 file say of their size: each begins with its own."""
    at, claimed = _MAT_HEADER_BYTES, 0
    order = "<" if encoded[126:128] == b"IM" else ">"
    while len(encoded) >= at + 8:
        kind, size = struct.unpack(f"{order}2I", encoded[at : at + 8])
        if kind == _MAT_COMPRESSED:
            start = zlib.decompressobj().decompress(encoded[at + 8 : at + 8 + min(size, 256)], 8)
            claimed += struct.unpack(f"{order}2I", start)[1] if len(start) == 8 else 0
        at += 8 + size
    return claimed


def read_hdf5(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The named data sets of an HDF5 file, as far as it has them and they lie in the file itself."""
    found = {}
    with open_hdf5(path) as file:
        for key in keys:
            dataset = find_dataset(file, key)
            if dataset is not None:
                require_plain(dataset, path, kinds="fiuSO")
                found[key] = dataset[...]
    return found


def read_text(path: str | os.PathLike[str], limit_bytes: int | None = None) -> str:
    """The text of a file, gzipped or not, as `decode_text` reads it.

    Raises OSError and UnicodeDecodeError, and DataError for what is no file, too large or damaged.
    """
    content = read_regular(path, limit_bytes)
    if content.startswith(_GZIP):
        try:
            content = gunzip(content, os.fspath(path))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path}: the gzip file is cut off or damaged ({error}); write or copy it again") from None
    return decode_text(content)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    return [line.strip() for line in read_all_lines(path) if line.strip()]


def read_all_lines(path: Path) -> list[str]:
    """The lines of a text file without their ends."""
    try:
        # Bytes are split, since text would also be split at rarer line ends, which a file name may hold.
        return [line.decode() for line in read_text(path).encode().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def require_shape(array: NDArray[Any], shape: tuple[int | None, ...], what: str) -> None:
    """Raise DataError where an array is not numbers of that shape; None is any length."""
    fits = array.ndim == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
    if not fits or array.dtype.kind not in "fiu":
        wanted = ", ".join("N" if length is None else str(length) for length in shape)
        raise DataError(f"{what} is {array.dtype} of shape {array.shape}, expected numbers of shape ({wanted})")
    if not np.isfinite(array).all():
        raise DataError(f"{what} holds NaN or infinite numbers")
