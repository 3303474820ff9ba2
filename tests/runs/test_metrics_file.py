"""metrics.jsonl after a power cut: damaged lines are set aside, whole ones kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from integral_pose.runs.metrics_file import MetricsFile, read_metrics

ROWS = [b'{"step": %d, "group": "train", "loss": 0.5}' % step for step in (1, 2, 3)]
DAMAGED = [b"\xff\xfe\x00", b"17", b"null", b'{"step": 2, "gro', b"\x00" * 40, b"[" * 5000, b'{"group": "val"}']


@pytest.mark.parametrize("line", DAMAGED)
@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_damaged_line_costs_no_other(
    tmp_path: Path, line: bytes, at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join([*ROWS[:at], line, *ROWS[at:]]) + b"\n")
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]
    MetricsFile(path).drop_after(2)
    assert [row["step"] for row in read_metrics(path)] == [1, 2]
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == line + b"\n"
    assert "1 damaged lines were moved to metrics.jsonl.damaged" in capsys.readouterr().err


def test_a_whole_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join(ROWS) + b"\n")
    MetricsFile(path).drop_after(3)
    assert path.read_bytes() == b"\n".join(ROWS) + b"\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]
