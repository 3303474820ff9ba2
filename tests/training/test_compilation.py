"""A compiled step on a machine without a compiler."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from integral_pose.training.compilation import compiled_where_possible


def test_without_a_compiler_the_step_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inductor = pytest.importorskip("torch._inductor.config")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # what was compiled before would be found
    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))
    torch._dynamo.reset()

    def forward(numbers: torch.Tensor) -> torch.Tensor:
        return numbers + 1

    assert compiled_where_possible(forward, torch.device("cpu")) is forward
    said = capsys.readouterr().err
    assert "the training step is not compiled, which makes it slower: " in said
    assert "trainer.compile=off asks for none" in said
    torch._dynamo.reset()
