"""Builds `volume.cpp` with the machine's C++ compiler at first use and keeps the library in the user's cache."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

SOURCE = Path(__file__).with_name("volume.cpp")
PROCESSORS = Path("/proc/cpuinfo")
_FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-pthread")
_OPTIONAL_FLAGS = (("-march=native", "-fopenmp"), ("-march=native",), ())  # the first that the compiler knows


class CompilerUnavailableError(RuntimeError):
    """Why the library could not be built."""


@functools.cache
def load_library() -> ctypes.CDLL:
    """The compiled loops. Takes one to three seconds once per machine and version of the source."""
    name = f"volume-{_fingerprint()}.so"
    try:
        if (folder := _cache_folder()) is not None:
            return _load(folder / name)
        with tempfile.TemporaryDirectory(prefix="integral-pose-") as private:
            return _load(Path(private) / name)  # it stays loaded when its file has gone
    except OSError as error:
        raise CompilerUnavailableError(str(error)) from error


def _load(library: Path) -> ctypes.CDLL:
    """The library, built where it is missing, cut short, or may be the work of another user."""
    if library.exists() and _is_ours_alone(library):
        with suppress(OSError):
            return ctypes.CDLL(str(library))
    _build(library)
    return ctypes.CDLL(str(library))


def _compiler() -> str:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    for name in names:
        if found := shutil.which(name):
            return found
    raise CompilerUnavailableError(f"no C++ compiler found (looked for {', '.join(names)})")


def _build(library: Path) -> None:
    compiler = _compiler()
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        built = Path(folder) / library.name
        for flags in _OPTIONAL_FLAGS:
            command = [compiler, *_FLAGS, *flags, str(SOURCE), "-o", str(built)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode == 0:
                break
        else:
            raise CompilerUnavailableError(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
        with built.open("rb") as file:
            os.fsync(file.fileno())  # before its name is: a power cut must not leave half of it
        built.replace(library)  # whole or not at all: other processes may be building it too


def _cache_folder() -> Path | None:
    """The user's folder for the library; None where there is none to write to, or others may write there too."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "integral-pose"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return None
        if _is_ours_alone(folder):
            return folder
    except (OSError, RuntimeError):  # the latter where there is no home
        return None
    warnings.warn(
        f"{folder}: belongs to another user or may be written by others, and what lies there is run. So each process "
        "builds the kernels for itself, in seconds; remove the folder, or keep it to yourself: chmod 700",
        stacklevel=2,
    )
    return None


def _is_ours_alone(path: Path) -> bool:
    """Whether this user owns it and nobody else may write to it."""
    status = path.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _fingerprint() -> str:
    """Of the source, the flags and the processor: home folders are shared between unlike machines."""
    lines = PROCESSORS.read_text().splitlines() if PROCESSORS.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    sources = [path.read_text() for path in (SOURCE, *sorted(SOURCE.parent.glob("*.h")))]
    parts = (*sources, *_FLAGS, *sum(_OPTIONAL_FLAGS, ()), platform.machine(), features)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
