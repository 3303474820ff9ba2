"""From runs to the page: known answers by hand, and the committed page is what its JSON says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results_page, variants
from benchmarks.approaches import BEST, PUBLISHED
from benchmarks.results_figure import draw
from benchmarks.results_page import headline, page, trials_page, verdicts
from benchmarks.summary import GROUPS, difference, lines, seconds_to
from integral_pose.skeleton import HUMAN36M

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs/results"
COMMITTED = sorted(RESULTS.glob("*.json"))


def run(seed: int, first_mm: float, second_mm: float, **more: Any) -> dict[str, Any]:
    """Two sequences of 1 and 3 frames, so that their mean is not the mean of the two."""
    mpjpe_mm = (first_mm + 3 * second_mm) / 4
    return {
        "mpjpe_mm": mpjpe_mm, "pa_mpjpe_mm": mpjpe_mm / 2, "per_joint_mm": dict.fromkeys(HUMAN36M.names, mpjpe_mm),
        "per_axis_mm": {"x": 1.0 + seed, "y": 2.0, "z": 3.0},
        "sequences": {"a": [1, first_mm, 0.0], "b": [3, second_mm, 0.0]}, "seed": seed, "images": 320, "starts": 1,
        "untrained_mpjpe_mm": 200.0, "curve": [[160, 151.0 + seed], [320, 150.0 - seed]],
        "commits": ["0123456789"], "torch": "2", "device": "cpu", "process_s": 10.0,
    } | more  # fmt: skip


def row(name: str, *runs: dict[str, Any], against: str = "integral", missing: str = "") -> dict[str, Any]:
    return {"name": name, "title": f"title of {name}", "against": against, "changes": [], "missing": missing,
            "images_per_s": 32.0, "runs": list(runs)}  # fmt: skip


def content(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"name": "a set", "command": "scripts/ablation.sh --small", "minutes": 1.5, "scored_on": "test",
            "mean_pose_on_test": {"mpjpe_mm": 200.0, "pa_mpjpe_mm": 90.0}, "rows": list(rows)}  # fmt: skip


INTEGRAL = row("integral", run(0, 100.0, 120.0), run(1, 110.0, 122.0))


def test_a_line_by_hand():
    line = lines(content(INTEGRAL))[0]
    assert line.mpjpe_mm == pytest.approx((115 + 119) / 2)
    assert line.spread_mm == pytest.approx(8**0.5)
    assert line.pa_mpjpe_mm == pytest.approx(58.5)
    assert line.groups_mm == pytest.approx(dict.fromkeys(GROUPS, 117.0))
    assert line.axes_mm == {"x": 1.5, "y": 2.0, "z": 3.0}
    assert (line.images, line.process_s, line.difference) == (320, 10.0, None)
    assert (line.untrained_mm, line.seconds_to) == (200.0, {150: 10.0, 100: None})  # 320 images, 32 a second


def test_the_time_to_a_level_is_that_of_the_mean_over_the_seeds():
    early = run(0, 1.0, 1.0, curve=[[160, 140.0], [320, 156.0], [480, 90.0]])
    late = run(1, 1.0, 1.0, curve=[[160, 162.0], [320, 144.0], [480, 120.0]])  # on average 151, 150, 105
    assert lines(content(row("integral", early, late)))[0].seconds_to == {150: 320 / 32, 100: None}


def test_a_difference_by_hand():
    other = row("other", run(0, 90.0, 118.0), run(1, 96.0, 120.0))
    found = difference(other, INTEGRAL)  # means over the seeds: 93 less 105, 119 less 121
    assert found.mm == pytest.approx(((-12 + 3 * -2) / 4, -12.0, -2.0))
    assert found.relative == pytest.approx((-4.5 / 117, -12 / 117, -2 / 117))
    assert (found.seeds_better, found.num_seeds, found.is_decided) == (2, 2, True)


@pytest.mark.parametrize(
    ("runs", "is_decided"),
    [
        ([run(0, 90.0, 130.0), run(1, 90.0, 130.0)], False),  # better in one sequence, worse in the other
        ([run(0, 50.0, 100.0), run(1, 111.0, 123.0)], False),  # better in both sequences, by one seed alone
        ([run(0, 101.0, 121.0), run(1, 111.0, 123.0)], True),
    ],
)
def test_what_is_decided(runs, is_decided):
    assert difference(row("other", *runs), INTEGRAL).is_decided is is_decided


def test_runs_on_other_frames_are_not_compared():
    other = row("other", run(0, 1.0, 1.0, sequences={"a": [2, 1.0, 0.0], "b": [2, 1.0, 0.0]}))
    with pytest.raises(ValueError, match="other and integral were scored on other frames"):
        difference(other, INTEGRAL)


def test_groups_name_every_joint_but_the_root_once():
    named = [joint for joints in GROUPS.values() for joint in joints]
    assert sorted(named) == sorted(set(HUMAN36M.names) - {"Hip"})


@pytest.mark.parametrize(
    ("regression", "words"),
    [
        ((90.0, 110.0), "the other way round than in the source report"),
        ((130.0, 140.0), "as in the source report"),
        ((90.0, 140.0), "not decided by these runs"),
        ((104.9, 120.9), "no difference of 1 % or more"),
    ],
)
def test_an_order_that_differs_is_said_plainly(regression, words):
    other = row("regression", run(0, *regression), run(1, *regression))
    assert words in verdicts(content(other, INTEGRAL))[0]


def test_best_is_held_against_published():
    best, published = (row(name, run(0, value, value)) for name, value in ((BEST, 80.0), (PUBLISHED, 100.0)))
    assert verdicts(content(best, published)) == [
        "`configs/best.yaml` against the published recipe: -20.0 (-20.0 to -20.0) mm, better in 1 of 1 seeds; "
        "-20.0 % (-20.0 to -20.0 %)."
    ]
    assert headline(content(best, published))[-1] == "-20.0 % (-20.0 to -20.0 %)"


def test_the_page_names_command_commit_and_what_was_not_run(tmp_path):
    missing = row("pretrained", missing="its weights are not here (resnet18.pth)")
    (tmp_path / "ablation-x.json").write_text(json.dumps(content(INTEGRAL, missing)))
    (tmp_path / "reading.md").write_text("## What it means\n")
    text = page(tmp_path)
    assert "`scripts/ablation.sh --small`, commit 0123456; cpu, torch 2; figures in [ablation-x.json]" in text
    assert "- title of pretrained: not run, since its weights are not here (resnet18.pth)." in text
    assert "| title of integral | 117.00 |" in text
    assert text.endswith("## What it means\n")


def test_the_figure_shows_every_seed():
    picture = draw(content(INTEGRAL, row("other", run(0, 90.0, 118.0), run(1, 96.0, 120.0))))
    assert picture.shape[1:] == (1100, 3)
    assert len(set(map(tuple, picture.reshape(-1, 3).tolist()))) > 20


@pytest.mark.parametrize(
    ("runs", "is_coloured"),
    [
        ([run(0, 90.0, 118.0), run(1, 96.0, 120.0)], True),
        ([run(0, 90.0, 130.0), run(1, 90.0, 130.0)], False),  # the interval lies over 0
        ([run(0, 99.8, 119.8), run(1, 109.8, 121.8)], False),  # the interval leaves out 0, by 0.2 % of the error
    ],
)
def test_the_figure_colours_what_the_page_calls_a_difference(runs, is_coloured):
    shown = draw(content(INTEGRAL, row("other", *runs))).reshape(-1, 3)
    assert (shown == [0xD5, 0x5E, 0x00]).all(1).any() == is_coloured
    assert len(set(map(tuple, shown.tolist()))) > 20


def test_results_are_shipped():
    assert [path.name for path in COMMITTED if path.name.startswith("ablation-")]


def test_the_page_is_what_the_json_says():
    assert (ROOT / "docs/results.md").read_text("utf-8") == page(RESULTS)
    assert (ROOT / "docs/trials.md").read_text("utf-8") == trials_page(RESULTS)
    for path in RESULTS.glob("ablation-*.json"):
        assert path.with_suffix(".png").exists()


@pytest.mark.parametrize("path", COMMITTED, ids=[path.name for path in COMMITTED])
def test_every_figure_names_a_command_and_a_commit(path):
    found = json.loads(path.read_text("utf-8"))
    assert found["command"]
    runs = [run for row in found.get("rows", []) for run in row["runs"]]
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for run in runs for commit in run["commits"])
    assert "/tmp" not in path.read_text("utf-8")


def test_the_readme_quotes_the_json():
    """Where the README speaks of the benchmark, its figures are those of the JSON."""
    text = (ROOT / "README.md").read_text("utf-8")
    if "docs/results.md" not in text:
        pytest.skip("the README does not speak of the benchmark yet")
    quoted = headline(json.loads((RESULTS / "ablation-synthetic-2-64px.json").read_text("utf-8")))
    for file_name in ("heads.json", "heads-8min.json", "heads-32min.json"):
        quoted += variants.headline(json.loads((RESULTS / file_name).read_text("utf-8")))
    assert [figure for figure in quoted if figure not in text] == []


def test_the_reading_quotes_the_times():
    text = (RESULTS / "reading.md").read_text("utf-8")
    for file, names in (("heads", ("axis_terms", "volume")), ("ablation-synthetic-2-64px-30min", ("integral",))):
        rows = {row["name"]: row for row in json.loads((RESULTS / f"{file}.json").read_text("utf-8"))["rows"]}
        for name in names:
            assert re.search(rf"\b{seconds_to(150, rows[name]):,.0f}\b", text), name


def test_writing_the_page_draws_the_figures(tmp_path, monkeypatch):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "ablation-x.json").write_text(json.dumps(content(INTEGRAL)))
    results_page.write(tmp_path / "results.md")
    assert (folder / "ablation-x.png").stat().st_size > 1000
    assert (folder / "ablation-x-curves.png").stat().st_size > 1000
    assert "117.00" in (tmp_path / "results.md").read_text()
