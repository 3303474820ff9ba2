"""Building the compiled loops: kept, shared, and clear about what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from integral_pose.heatmaps.backends import compiler


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "integral-pose"


def load() -> None:
    compiler.load_library.__wrapped__()


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
