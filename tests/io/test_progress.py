"""Long work says how far it is: a bar that fits into a terminal, lines without one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

import integral_pose
from integral_pose.cli.main import main
from integral_pose.io import progress
from integral_pose.io.progress import ProgressDisplay

COLUMNS = 80


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that a test sets."""
    now = [0.0]
    monkeypatch.setattr("integral_pose.io.progress.time.monotonic", lambda: now[0])
    return now


def test_lines_by_hand(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay(12_000, "images", "epoch 1", done=2_000) as shown:
        for seconds, count in ((29, 1_000), (40, 1_000), (69, 500), (71, 1_050), (99, 1)):
            clock[0] = seconds
            shown.add(count)
            shown.title, shown.note = "epoch 2", "loss 0.5"
    assert capsys.readouterr().err.splitlines() == [
        "epoch 2: 4,000/12,000 images, 50/s, 02:40 left, loss 0.5",  # 2,000 in 40 s, 8,000 to do
        "epoch 2: 5,550/12,000 images, 50/s, 02:09 left, loss 0.5",
    ]


def test_lines_where_the_end_is_not_known_or_comes_late(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for total, words in ((None, "a: 3 images, 0.1/s"), (2, "a: 3/2 images, 0.1/s, 00:00 left")):
        clock[0] = 0
        shown = ProgressDisplay(total, "images", "a")
        clock[0] = 30
        shown.add(3)
        assert capsys.readouterr().err == words + "\n"
    hidden = ProgressDisplay(2, "images", "a", show=False)
    clock[0] = 100
    hidden.add()
    assert capsys.readouterr().err == ""


def in_terminal(monkeypatch: pytest.MonkeyPatch, columns: int = COLUMNS) -> int:
    """Make stderr a terminal; returns the end that reads it."""
    reading, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    monkeypatch.setattr(sys, "stderr", os.fdopen(terminal, "w"))
    return reading


def written_to(reading: int) -> str:
    """All that the terminal got, which closes with it: before that some of it may still be under way."""
    sys.stderr.close()
    parts = []
    with suppress(OSError):  # the end
        while part := os.read(reading, 10_000):
            parts.append(part)
    return b"".join(parts).decode()


@pytest.mark.parametrize("total", [7_804_700, None, 3])
def test_a_bar_fits_into_80_columns(total: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = in_terminal(monkeypatch)
    with ProgressDisplay(total, "images", "epoch 25", done=(total or 3) // 3) as shown:
        bar, now = shown._bar, [0.0]
        bar.mininterval, bar.start_t, bar.last_print_t, bar._time = 0, 0, 0, lambda: now[0]  # every step is drawn
        shown.note = "loss 0.1234, MPJPE 200 mm"
        for now[0] in (0.3, 0.6):
            shown.add(64)
    drawn = re.split("[\r\n]+", written_to(reading))
    drawn = [line for line in drawn if line.strip()]
    assert len(drawn) > 1
    assert max(map(len, drawn)) <= COLUMNS
    assert drawn[-1].startswith("epoch 25: ")
    assert drawn[-1].rstrip().endswith("loss 0.1234, MPJPE 200 mm")  # nothing was cut off


def test_a_pipe_gets_lines_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    """Of a command: no bar, and a line a task where every task takes long."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0)
    rendered = str(tmp_path / "people")
    assert main(["prepare", "synthetic", "--out", rendered, "--train", "3", "--valid", "2", "--workers", "1"]) == 0
    said = capsys.readouterr().err
    assert "\r" not in said
    assert re.fullmatch(r"(rendering: \d/5 images, [\d.,]+/s, \d\d:\d\d left\n)+", said)


def test_progress_is_shown_in_one_place() -> None:
    package = Path(integral_pose.__file__).parent
    users = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if "tqdm" in path.read_text()}
    assert users == {"io/notices.py", "io/progress.py"}
