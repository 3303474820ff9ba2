"""Words about a run do not end it: stderr and stdout may be closed, full, or read by nobody any more."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

import pytest
from tqdm import tqdm

from integral_pose.cli.main import main
from integral_pose.io.notices import notify, open_closed_streams, unfailing_stderr


def stream(how: str) -> IO[str] | None:
    """As the interpreter begins with: a closed one is None."""
    if how == "full":
        return Path("/dev/full").open("w", buffering=1)
    reading, writing = os.pipe()
    os.close(reading)
    return None if how == "closed" else os.fdopen(writing, "w", buffering=1)


def can_be_closed(stream: IO[str] | None) -> None:
    """What a stream holds back goes to nowhere."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.close()


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize("how", ["closed", "full", "unread"])
def test_training_goes_on_whatever_becomes_of_its_words(
    how: str, tiny_yaml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = stream(how), stream(how)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        status = main(["train", str(tiny_yaml), "trainer.checkpoint_every=1"])
        flushed = sys.stdout is None or sys.stdout is not streams[0]  # else its flush at exit fails: status 120
    for each in streams:
        can_be_closed(each)
    assert status == 0
    assert flushed
    assert (tiny_yaml.parent / "run" / "last.pt").exists()


def test_no_file_gets_the_number_of_a_closed_stream() -> None:
    pid = os.fork()
    if pid == 0:
        os.close(2)
        open_closed_streams()
        os._exit(os.open(os.devnull, os.O_RDONLY))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) > 2


def test_no_notice_raises_nor_keeps_the_lock_of_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        with unfailing_stderr(), tqdm(total=2, mininterval=0) as bar:
            notify("a word")
            bar.update()
        notify("a word")
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # what it holds back can be closed then
    monkeypatch.setattr(sys, "stderr", None)
    notify("a word")


def test_a_bar_is_cleared_for_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    with unfailing_stderr(), tqdm(total=2, ascii=True) as bar:
        notify("a word")
        bar.update()
    said = capsys.readouterr().err
    assert said.index("\r       ") < said.index("\ra word\n") < said.rindex("1/2")
