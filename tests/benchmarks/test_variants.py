"""Comparisons of as many images: what is written, the sets with fewer labels, a comparison from end to end."""

import json

import numpy as np
import pytest
import yaml

from benchmarks import partial_labels, variants
from benchmarks.__main__ import main
from benchmarks.benchmark import Candidate
from benchmarks.partial_labels import write_partial_labels
from benchmarks.variants import Comparison, section
from integral_pose.data.course import read_train
from integral_pose.errors import ConfigError
from integral_pose.skeleton import HUMAN36M
from tests.conftest import write_course


def run_of(mpjpe_mm: float) -> dict[str, object]:
    sequences = {name: [2, mpjpe_mm + shift, 1.0] for name, shift in (("a", -1.0), ("b", 1.0))}
    return {"mpjpe_mm": mpjpe_mm, "pa_mpjpe_mm": mpjpe_mm / 2, "sequences": sequences}


def test_the_table_by_hand():
    """Errors 100 and 104 against 90 and 95: 102 +- 2.8 and 92.5 +- 3.5, 9.5 less in every sequence."""
    content = {
        "command": "the command", "images": 9600, "mean_pose": {"mpjpe_mm": 200.0, "pa_mpjpe_mm": 150.0},
        "rows": [
            {"name": "two", "title": "few", "against": "", "runs": [run_of(100.0), run_of(104.0)]},
            {"name": "all", "title": "many", "against": "two", "runs": [run_of(90.0), run_of(95.0)]},
        ],
    }  # fmt: skip
    text = section(content, "labels.json")
    assert "`the command` ([labels.json](results/labels.json))" in text
    assert "9,600 images a run, 2 seeds" in text
    assert "102.0 ± 2.8" in text
    assert "92.5 ± 3.5" in text
    assert "-9.5 (-9.5 to -9.5) against few, 2 of 2" in text
    assert variants.headline(content) == ["102.0 ± 2.8 mm", "92.5 ± 3.5 mm", "-9.5 (-9.5 to -9.5) mm"]


def test_rates_give_two_columns():
    """160 images at 32 a second."""
    runs = [run_of(100.0) | {"curve": [[32, 200.0], [160, 149.0]]}]
    row = {"name": "regression", "title": "one", "against": "", "images_per_s": 32.0, "runs": runs}
    content = {"command": "", "images": 160, "mean_pose": {"mpjpe_mm": 200.0, "pa_mpjpe_mm": 150.0}, "rows": [row]}
    heading, _, first, last = section(content, "heads.json").strip().splitlines()[-4:]
    assert [cell.strip() for cell in heading.split("|")][-3:-1] == ["images/s", "s to 150"]
    assert [cell.strip() for cell in first.split("|")][-3:-1] == ["32", "5"]
    assert last.count("|") == heading.count("|")


def test_sets_with_fewer_labels_keep_what_they_keep(tmp_path, monkeypatch):
    root = write_course(tmp_path / "people", num_train=200)
    monkeypatch.setattr(partial_labels, "FEW", 10)
    for _ in range(2):  # a second call finds them
        out = write_partial_labels(root)
    assert out == tmp_path / "people-labels"
    assert {path.name for path in out.iterdir()} == {"mm", "px", "few", "gaps"}
    whole, gaps, two, few = (read_train(folder) for folder in (root, out / "gaps", out / "mm", out / "few"))
    assert (len(gaps), len(two), len(few)) == (200, 80, 10)
    assert {two.name(row)[:2] for row in range(len(two))} == {"S1", "S5"}
    for row in range(10):
        (same,) = [other for other in range(200) if whole.name(other) == few.name(row)]
        np.testing.assert_array_equal(few.joints_camera_mm[row], whole.joints_camera_mm[same])
    is_missing = np.isnan(gaps.joints_camera_mm).any(2)
    assert not is_missing[:, HUMAN36M.root].any()
    assert 0.30 < np.delete(is_missing, HUMAN36M.root, 1).mean() < 0.37
    np.testing.assert_array_equal(gaps.joints_camera_mm[~is_missing], whole.joints_camera_mm[~is_missing])
    np.testing.assert_array_equal(np.isnan(gaps.joints_crop_px).any(2), is_missing)


@pytest.mark.usefixtures("tiny_backbone")
def test_a_comparison_from_end_to_end(tiny_values, tmp_path, monkeypatch, capsys):
    """Two sources count the images of both; what is done is not made again."""
    root, config = write_course(tmp_path / "people", num_train=20, num_valid=4), tmp_path / "demo.yaml"
    tiny_values["stages"] = [{"epochs": 1, "learning_rate": 1e-3}]
    config.write_text(yaml.safe_dump(tiny_values))
    sources = "data.sources=[{root: DATA-labels/mm, images: 2}, {root: DATA-labels/px, images: 2, weight: 0.2}]"
    comparison = Comparison(
        "Tiny", "tiny", (
            Candidate("few", "few", str(config), ("data.root=DATA-labels/mm",), ""),
            Candidate("both", "both", str(config), ("data.root=DATA-labels/mm", sources), "few"),
        ), 8, root, write_partial_labels, has_rates=True,
    )  # fmt: skip
    rates = {"reference_images_per_s": 14.34, "ratios": {"few": 1.0, "both": 2.868}}
    monkeypatch.setattr(variants, "measured_rates", lambda *_: rates)
    monkeypatch.setitem(variants.COMPARISONS, "labels", comparison)
    made = []
    monkeypatch.setattr(variants, "run_one", lambda *arguments: made.append(arguments[-1]) or run_here(*arguments))
    arguments = ["variants", "labels", "--seeds", "1", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    assert main([*arguments, "--minutes", "0.02"]) == 0
    timed = json.loads((tmp_path / "labels-0.02min.json").read_text())
    assert timed["command"] == "python -m benchmarks variants labels --minutes 0.02 --seeds 1"
    assert made == [16, 4]  # 1.2 s at 14.34 and at 5 a second, in batches of 4; the latter's half of the first source
    assert "## Tiny, 0.02 minutes of one core\n" in section(timed, "labels-0.02min.json")
    made.clear()
    assert main([*arguments, "--only", "few", "--minutes", "0.02"]) == 0
    timed = json.loads((tmp_path / "labels-0.02min.json").read_text())
    assert [row["name"] for row in timed["rows"]] == ["few"]
    assert timed["command"].endswith("--seeds 1 --only few")
    made.clear()
    capsys.readouterr()
    assert main(arguments) == 0
    rows = json.loads((tmp_path / "labels.json").read_text())["rows"]
    assert made == [8, 4]
    assert [run["images"] for row in rows for run in row["runs"]] == [8, 8]
    assert rows[1]["runs"][0]["mpjpe_mm"] > 0
    assert [row["images_per_s"] for row in rows] == [14.3, 5.0]
    assert "against few, " in capsys.readouterr().out


def run_here(benchmark, candidate, seed, epoch_images):
    """As `run_one`, in this process."""
    from benchmarks import one_run

    if not benchmark.result(candidate, seed).exists():
        one_run.main(benchmark.command(candidate, seed, epoch_images)[3:])


def test_without_the_data_the_command_says_so(tmp_path):
    assert main(["variants", "people", "--data", str(tmp_path / "none")]) == ConfigError.exit_code
