"""`integral-pose test`: what its options change, and with whom a run is compared."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from integral_pose import experiment
from integral_pose.cli.main import main
from integral_pose.evaluation import csv_scores


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], []),
        (["--root-depth", "bone_length"], ["evaluation.root_depth=bone_length"]),
        (["evaluation.flip=true", "--root-depth", "5000"], ["evaluation.flip=true", "evaluation.root_depth=5000"]),
    ],
)
def test_the_depth_of_the_root_is_an_override(options, expected, monkeypatch):
    def test(run, overrides, out):
        assert (str(run), overrides, out) == ("run", expected, None)
        return experiment.TestResult(
            Path("run/best.pt"), Path("run/predictions.csv"), Path("d/annot/valid.h5"), None, None
        )

    monkeypatch.setattr(experiment, "test", test)
    assert main(["test", "run", *options]) == 0


def test_runs_are_compared_with_the_first_on_the_same_images_alone(monkeypatch, capsys):
    """Two on the data of the first, one of them by itself; a fourth on others, of which no image can be paired."""

    def result(name: str, truth: str) -> experiment.TestResult:
        scores = SimpleNamespace(mpjpe_mm=100.0, pa_mpjpe_mm=70.0, interval_mm=(95.0, 105.0))
        return experiment.TestResult(Path(name), Path(f"{name}.csv"), Path(truth), scores, None)

    compared = []

    def compare_csv(one, other, truth, **how):
        compared.append((one.name, other.name, truth))
        return SimpleNamespace(mean=-12.0, bounds=(-15.0, -9.0))

    results = [result("a", "d/x/t.h5"), result("b", "d/x/t.h5"), result("c", "other/x/t.h5")]
    monkeypatch.setattr(experiment, "test_several", lambda *_: results)
    monkeypatch.setattr(csv_scores, "compare_csv", compare_csv)
    assert main(["test", "a", "b", "c"]) == 0
    assert compared == [("b.csv", "a.csv", Path("d/x/t.h5"))]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [("-12.00" in line, "-15.00 to -9.00" in line) for line in lines[2:]] == [
        (False,) * 2,
        (True,) * 2,
        (False,) * 2,
    ]
