"""Tasks in processes: results, and an end that loses nothing and begins nothing new."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from integral_pose.errors import DataError, IntegralPoseError
from integral_pose.io import progress
from integral_pose.io.parallel import environment, run_tasks


def square(number: int) -> int:
    return number**2


def leave_a_mark(path: Path) -> None:
    if path.name == "0":
        raise DataError(f"{path}: is damaged")
    time.sleep(0.1)
    path.write_text("")


def die(_: int) -> None:
    os._exit(1)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_the_order_of_the_tasks(workers: int) -> None:
    results = run_tasks(square, range(20), workers, unit="squares", title="squaring", show_progress=False)
    assert results == [i**2 for i in range(20)]


def test_progress_counts_sizes_and_what_was_done_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    run_tasks(square, range(3), 1, unit="images", title="reading", sizes=[5, 0, 2], done=3)
    assert "reading: 10/10 images" in capsys.readouterr().err.splitlines()[-1]


def test_after_a_fault_nothing_new_begins(tmp_path: Path) -> None:
    tasks = [tmp_path / str(i) for i in range(40)]
    with pytest.raises(DataError, match="0: is damaged"):
        run_tasks(leave_a_mark, tasks, 2, unit="files", title="marking", show_progress=False)
    assert len(list(tmp_path.iterdir())) < 8


def test_a_worker_that_dies_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(IntegralPoseError, match="fewer --workers"):
        run_tasks(die, range(4), 2, unit="tasks", title="dying", show_progress=False)


def test_variables_are_set_inside_and_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "before")
    monkeypatch.delenv("NEW", raising=False)
    with environment(OURS="1", NEW="2"):
        assert (os.environ["OURS"], os.environ["NEW"]) == ("1", "2")
    assert os.environ["OURS"] == "before"
    assert "NEW" not in os.environ
