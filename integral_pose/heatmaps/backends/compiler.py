"""Builds `volume.cpp` with the machine's C++ compiler at first use and keeps the library in the user's cache."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("volume.cpp")
_FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-pthread")
_OPTIONAL_FLAGS = (("-march=native", "-fopenmp"), ("-march=native",), ())  # the first that the compiler knows


class CompilerUnavailableError(RuntimeError):
    """Why the library could not be built."""


@functools.cache
def load_library() -> ctypes.CDLL:
    """The compiled loops. Takes one to three seconds once per machine and version of the source."""
    try:
        library = _cache_folder() / f"volume-{_fingerprint()}.so"
        if not library.exists():
            _build(library)
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise CompilerUnavailableError(str(error)) from error


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
        built.replace(library)  # whole or not at all: other processes may be building it too


def _cache_folder() -> Path:
    """A folder that only this user writes to: what lies there is run."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "integral-pose"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return home
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.mkdtemp(prefix="integral-pose-"))


def _fingerprint() -> str:
    """Of the source, the flags and the processor: home folders are shared between unlike machines."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    sources = [path.read_text() for path in (SOURCE, *sorted(SOURCE.parent.glob("*.h")))]
    parts = (*sources, *_FLAGS, *sum(_OPTIONAL_FLAGS, ()), platform.machine(), features)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
