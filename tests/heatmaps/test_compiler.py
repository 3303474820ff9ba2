"""Building the compiled loops: kept, shared, and clear about what is missing."""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path

import pytest

from integral_pose.heatmaps.backends import compiler


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "integral-pose"


def load() -> None:
    compiler.load_library.__wrapped__()


@pytest.fixture
def fake_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of C++: notes each call, and writes what `CDLL` is replaced by here: an empty file is no library."""
    log, script = tmp_path / "built", tmp_path / "compile"
    script.write_text(f'#!/bin/sh\nfor out; do :; done\necho built >> {log}\necho library > "$out"\n')
    script.chmod(0o700)
    log.touch()
    monkeypatch.setenv("CXX", str(script))

    def load_fake(name: str) -> str:
        if Path(name).read_text() != "library\n":
            raise OSError(f"{name}: file too short")
        return name

    monkeypatch.setattr(ctypes, "CDLL", load_fake)
    return log


def test_builds_once_and_leaves_nothing_else(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    assert [path.suffix for path in cache.iterdir()] == [".so"]
    monkeypatch.setenv("CXX", "no-such-compiler")
    load()


def test_names_the_missing_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(compiler.CompilerUnavailableError, match="no-such-compiler"):
        load()


def test_shows_what_the_compiler_said(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.cpp"
    broken.write_text("not C++")
    monkeypatch.setattr(compiler, "SOURCE", broken)
    with pytest.raises(compiler.CompilerUnavailableError, match="error"):
        load()
    assert list(cache.iterdir()) == []


def number_built(log: Path) -> int:
    return len(log.read_text().splitlines())


def test_a_library_that_was_cut_short_is_built_again(cache: Path, fake_compiler: Path) -> None:
    load()
    load()
    assert number_built(fake_compiler) == 1
    (library,) = cache.iterdir()
    library.write_text("")
    load()
    assert number_built(fake_compiler) == 2
    assert library.read_text() == "library\n"


@pytest.mark.parametrize("change", ["mode", "owner"])
def test_a_folder_that_others_may_write_to_is_not_used(
    change: str, cache: Path, fake_compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    load()
    if change == "mode":
        cache.chmod(0o770)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.warns(UserWarning, match="integral-pose: belongs to another user or may be written by others"):
        load()
    assert number_built(fake_compiler) == 2
    assert list((tmp_path / "temporary").iterdir()) == [], "the private folder goes"


def test_a_library_that_others_could_write_is_built_again(cache: Path, fake_compiler: Path) -> None:
    load()
    (library,) = cache.iterdir()
    library.chmod(0o722)
    load()
    assert number_built(fake_compiler) == 2
    assert library.stat().st_mode & 0o022 == 0


def test_without_a_home_nothing_stays(fake_compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    load()
    assert number_built(fake_compiler) == 1
    assert list((tmp_path / "temporary").iterdir()) == []


def test_another_processor_has_its_own_library(
    cache: Path, fake_compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for features in ("flags: avx2", "flags: avx2 avx512f", "flags: avx2"):
        (tmp_path / "cpuinfo").write_text(f"model name: x\n{features}\n")
        monkeypatch.setattr(compiler, "PROCESSORS", tmp_path / "cpuinfo")
        load()
    assert number_built(fake_compiler) == len(list(cache.iterdir())) == 2
