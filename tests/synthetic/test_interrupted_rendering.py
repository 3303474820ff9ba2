"""A rendering that was broken off goes on where it was, and ends with the bytes of one that was not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integral_pose.datasets.conversion import ConversionSummary
from integral_pose.errors import DataError
from integral_pose.synthetic import dataset
from integral_pose.synthetic.dataset import render_dataset
from integral_pose.synthetic.painter import MannequinPainter, Painted
from integral_pose.synthetic.presets import EASY
from integral_pose.synthetic.shots import Shot

TINY: dict[str, Any] = {"num_train": 7, "num_valid": 2, "seed": 3, "workers": 1, "show_progress": False}


@dataclass(frozen=True)
class BreaksOff(MannequinPainter):
    """Logs what it paints; `after` so many pictures somebody presses Ctrl-C."""

    log: Path
    after: int

    def paint(self, split: str, index: int, shot: Shot) -> Painted:
        done = self.log.read_text().split() if self.log.exists() else []
        if len(done) == self.after:
            raise KeyboardInterrupt
        self.log.write_text(" ".join([*done, f"{split}{index}"]))
        return super().paint(split, index, shot)


def render(folder: Path, after: int = 99, **changes: Any) -> ConversionSummary:
    painter = BreaksOff(changes.get("seed", 3), EASY, folder / "log", after)
    return render_dataset(folder / "set", painter=painter, **TINY | changes)


def test_finished_pictures_are_kept_and_the_bytes_are_those_of_a_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "IMAGES_A_RECORDING", 2)
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path, after=5)
    assert not (tmp_path / "set").exists()
    assert (render(tmp_path).num_train, render(tmp_path).was_complete) == (7, True)
    assert (tmp_path / "log").read_text() == (
        "train0 train1 train2 train3 train4 train4 train5 train6 valid0 valid1"  # the fifth was half of a recording
    )
    render_dataset(tmp_path / "whole", **TINY)
    files = [{p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
             for root in (tmp_path / "set", tmp_path / "whole")]  # fmt: skip
    assert len(files[0]) == 9 + 7
    assert files[0] == files[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "set", "whole"]


def test_other_arguments_do_not_go_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path, after=1)
    for change, told in (({"seed": 4}, "seed: 3 there, 4 now"), ({"num_train": 8}, "train: 7 there, 8 now"),
                         ({"first_of": (9, 9)}, r"first_of: \{'train': 7, 'valid': 2\} there")):  # fmt: skip
        with pytest.raises(DataError, match=rf"\.set\.unfinished: holds an unfinished set with other .*{told}"):
            render(tmp_path, **change)
