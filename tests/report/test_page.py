"""The building blocks of the report page, without a browser: what is text stays text, what is missing is left out."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integral_pose.evaluation.comparison import Row, compare
from integral_pose.evaluation.intervals import Estimate
from integral_pose.report import charts, tables
from integral_pose.report.heatmap_figures import draw_planes
from integral_pose.report.page import environment, render
from integral_pose.report.page_content import HeatmapMarginals, PageContent, RunNotes, ShownImage
from integral_pose.report.pose_svg import VIEW_PX, overlay, side_view
from integral_pose.skeleton import HUMAN36M, Skeleton

THREE = Skeleton(("Hip", "LHip", "RHip"), {"LHip": "Hip", "RHip": "Hip"}, (("LHip", "RHip"),))
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Reader(HTMLParser):
    """Every start tag with its attributes, and all text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def count(self, tag, **attributes):
        return sum(name == tag and attributes.items() <= found.items() for name, found in self.tags)


def macro(template, name, *arguments, **options):
    """What a macro of a template writes."""
    return getattr(environment().get_template(template).module, name)(*arguments, **options)


@given(st.text())
def test_text_stays_text(text):
    found = Reader(environment().from_string('<p title="{{ text }}">{{ text }}</p>').render(text=text))
    assert [tag for tag, _ in found.tags] == ["p"]
    if not set(text) & set("\r\0"):  # which no page keeps
        assert found.tags[0][1] == {"title": text}
        assert found.text == text


def test_data_does_not_end_its_element():
    template = environment().from_string("<script>{{ data|tojson }}</script>")
    script = template.render(data={"name": HOSTILE})
    assert script.count("</script>") == 1
    assert json.loads(re.fullmatch(r"<script>(.*)</script>", script)[1]) == {"name": HOSTILE}
    with pytest.raises(ValueError, match="not JSON compliant"):
        template.render(data=float("nan"))


def test_photograph_is_whole_in_itself():
    picture = np.zeros((4, 6, 3), np.uint8)
    uri = environment().filters["jpeg"](picture)
    _, attributes = Reader(macro("poses.html", "picture", uri, picture, HOSTILE)).tags[0]
    assert attributes["src"].startswith("data:image/jpeg;base64,")
    assert (attributes["width"], attributes["height"], attributes["alt"]) == ("6", "4", HOSTILE)


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d", text)]


def test_side_view_has_depth_to_the_right_and_y_down():
    pose_mm = np.array([[0, 0, 0], [0, 100, 0], [0, 0, 50]], float)  # LHip below the hip, RHip behind it
    found = Reader(macro("poses.html", "drawing", side_view(ShownImage("a", [pose_mm]), THREE), "flat"))
    left, right = (
        next(a["d"] for _, a in found.tags if a.get("class") == side) for side in ("side-left", "side-right")
    )
    assert numbers(left)[2:] == [numbers(left)[0], pytest.approx(VIEW_PX / 2 + 50 * VIEW_PX / 112, abs=0.06)]
    x, y, to_x, to_y = numbers(right)
    assert to_x - x == pytest.approx(50 * VIEW_PX / 112, abs=0.11)
    assert to_y == y


def test_runs_are_drawn_one_at_a_time_and_the_truth_always():
    pose = np.array([[10, 20, 0], [30, 40, 0], [50, 70, 0]], float)
    picture = np.zeros((VIEW_PX, VIEW_PX, 3), np.uint8)
    image = ShownImage("a", [pose, pose[::-1] ** 2], pose, picture, pose[:, :2])
    found = Reader(macro("poses.html", "drawing", overlay(image, THREE), "over"))
    assert found.count("g", **{"data-run": "0"}) == 1
    assert found.count("g", **{"data-run": "1", "style": "display:none"}) == 1
    assert found.count("g", **{"class": "truth"}) == 1
    assert found.count("path", d="M10.0 20.0L30.0 40.0") == 2  # of the truth and of the first run


def test_error_skeleton_has_a_number_a_joint():
    rows = [Row(name, [Estimate(float(i))]) for i, name in enumerate(HUMAN36M.names)]
    found = Reader(macro("poses.html", "error_skeleton", rows, 0, HUMAN36M))
    assert found.count("circle") == found.count("text") == 17
    assert found.count("line") == 16
    assert found.count("circle", fill="#440154") == found.count("circle", fill="#fde725") == 1  # viridis' ends
    assert "LWrist: 13.0 mm" in found.text
    perfect = Reader(macro("poses.html", "error_skeleton", [Row("Hip", [Estimate(0.0)])], 0, HUMAN36M))
    assert perfect.count("circle", fill="#440154") == 1


LOGGED = [
    {"step": 1, "group": "train", "integral": 0.5, "mpjpe_mm": 300.0},
    {"step": 2, "group": "val", "mpjpe_mm": 250.0},
]


def notes(name="one", **changes):
    fields = {"settings": {"seed": "0", "stages.0.weights.integral": "1.0"}, "logged": LOGGED}
    return RunNotes(name, "runs/one/best.pt", "seed: 0\n", **{**fields, **changes})


def test_curves_leave_out_what_cannot_be_drawn():
    rows = [
        {"step": i, "group": "train", "integral": value} for i, value in enumerate([0.5, float("nan"), 0.0, "x", 0.2])
    ]
    chart = charts.loss_curves([notes(logged=rows)])
    assert (chart["data"][0]["x"], chart["data"][0]["y"]) == ([0, 2, 4], [0.5, 0.0, 0.2])
    assert charts.error_curves([notes(logged=rows)]) is None
    json.dumps(chart, allow_nan=False)


def test_losses_have_their_names_and_few_ticks():
    rows = [
        {"step": i, "group": "train", "integral": 0.1, "heatmap": value} for i, value in enumerate([30.0, 0.9, 1.0])
    ]
    settings = {"loss.joints": "rle", "loss.heatmap.name": "jensen_shannon"}
    chart = charts.loss_curves([notes(logged=rows, settings=settings)])
    assert [trace["name"] for trace in chart["data"]] == ["integral: rle", "heat map: jensen_shannon"]
    assert (chart["layout"]["yaxis"]["type"], chart["layout"]["yaxis"]["dtick"]) == ("log", "D2")
    for values in ([0.5, 0.2], [5.0, -0.2]):  # less than a decade; without a logarithm
        rows = [{"step": i, "group": "train", "integral": value} for i, value in enumerate(values)]
        axis = charts.loss_curves([notes(logged=rows)])["layout"]["yaxis"]
        assert axis["rangemode"] == "tozero"
        assert "type" not in axis


def test_the_error_of_the_mean_pose_is_a_level():
    chart = charts.error_curves([notes(mean_pose_mpjpe_mm=238.62)])
    level = chart["data"][-1]
    assert (level["name"], level["x"], level["y"]) == ("mean pose, test set: 239 mm", [1.0, 2.0], [238.62, 238.62])
    names = [trace["name"] for trace in charts.error_curves([notes(mean_pose_mpjpe_mm=238.62), notes("two")])["data"]]
    assert [name for name in names if "mean pose" in name] == ["one, mean pose, test set: 239 mm"]


def test_long_curves_are_thinned_and_keep_their_end():
    rows = [{"step": i, "group": "val", "mpjpe_mm": 1.0} for i in range(5000)]
    steps = charts.error_curves([notes(logged=rows)])["data"][0]["x"]
    assert len(steps) <= charts.MOST_POINTS
    assert steps[-1] == 4999
    assert len(set(np.diff(steps))) == 1


def test_names_are_no_markup_to_plotly():
    chart = charts.error_curves([notes("<b>x</b>"), notes("two")])
    assert chart["data"][0]["name"] == "&lt;b&gt;x&lt;/b&gt;, held out"


def test_bars_carry_their_intervals():
    rows = [Row("Walking", [Estimate(50, 40, 70)]), Row("Posing", [Estimate(60)])]
    bar = charts.bars(rows, ["one"])["data"][0]
    assert (bar["y"], bar["x"]) == (["Walking", "Posing"], [50, 60])
    assert (bar["error_x"]["array"], bar["error_x"]["arrayminus"]) == ([20, 0], [10, 0])
    assert charts.bars(rows[1:], ["one"])["data"][0]["error_x"] is None


def test_differences_say_whether_they_are_more_than_chance():
    rows = [
        Row("a", [Estimate(5), Estimate(4)], [Estimate(-1, -2, -0.5)]),
        Row("b", [Estimate(5)] * 2, [Estimate(1, -1, 3)]),
    ]
    text = macro("tables.html", "group", "joint", rows, [notes(), notes("two")])
    assert '<span class="better">-1.0 better</span> <small>[-2.0, -0.5]</small>' in text
    assert "<span>+1.0</span> <small>[-1.0, +3.0]</small>" in text


def test_settings_that_differ():
    first, second = notes(), notes("two", settings={"seed": "1", "stages.0.weights.integral": "1.0", "new": "2"})
    found = Reader(macro("tables.html", "differing_settings", [first, second]))
    assert "seed01" in found.text
    assert "new-2" in found.text
    assert "integral" not in found.text
    assert tables.differing_settings([first, first]) == {}


NAMES = ["S9_Walking_1.1_000001.jpg", "S11_Posing_1.1_000001.jpg", "S11_Posing_2.1_000001.jpg"]


@pytest.fixture
def report():
    rng = np.random.default_rng(0)
    true_mm = rng.normal(0, 300, (3, 17, 3))
    predicted_mm = [true_mm + rng.normal(0, 50, true_mm.shape) for _ in range(2)]
    picture = np.full((VIEW_PX, VIEW_PX, 3), 90, np.uint8)
    samples = [
        ShownImage(
            name, [run[i] for run in predicted_mm], true_mm[i], picture, true_mm[i, :, :2] / 5 + 96, [80.0, 81.0]
        )
        for i, name in enumerate(NAMES)
    ]
    heatmaps = [HeatmapMarginals(NAMES[0], "LWrist", {"one": picture, "two": picture})]
    comparison = compare(predicted_mm, true_mm, NAMES, HUMAN36M)
    return PageContent(
        [notes(), notes("two")],
        3,
        comparison,
        samples[:2],
        samples[2:],
        heatmaps,
        ["something is missing"],
        skeleton=HUMAN36M,
    )


def test_the_whole_page(report):
    text = render(report)
    found = Reader(text)
    assert [a["id"] for tag, a in found.tags if tag == "section"] == [
        "summary", "errors", "samples", "heatmaps", "curves", "configuration",
    ]  # fmt: skip
    assert found.count("button") == found.count("img", alt=f"test image {NAMES[0]}") + 2 == 3
    assert found.count("img") == 5
    assert "something is missing" in found.text
    assert {a["href"][1:] for tag, a in found.tags if tag == "a"} <= {a.get("id") for _, a in found.tags}
    assert render(report) == text  # the same bytes for the same report
    assert not any(re.match("https?:", a.get(key) or "") for _, a in found.tags for key in ("src", "href"))
    assert found.count("link") == 0


def test_an_aligned_error_above_the_mpjpe_is_explained(report):
    scores = [replace(run, metrics={**run.metrics, "n_mpjpe_mm": run.mpjpe_mm + 1}) for run in report.comparison.scores]
    above = replace(report, comparison=replace(report.comparison, scores=[report.comparison.scores[0], scores[1]]))
    assert "N-MPJPE above MPJPE is no fault" in Reader(render(above)).text
    assert "above MPJPE" not in Reader(render(report)).text


def test_missing_parts_are_left_out(report):
    pictureless = [replace(sample, picture=None, true_picture_px=None) for sample in report.worst]
    found = Reader(render(replace(report, worst=pictureless, random=[], heatmaps=[])))
    assert found.count("img") == 0
    assert found.count("svg", **{"class": "flat"}) == 4  # from the front and from the side
    unlabelled = replace(report.worst[0], true_mm=None, true_picture_px=None, errors_mm=[])
    text = render(PageContent([notes(logged=[])], 1, worst=[], random=[unlabelled], skeleton=HUMAN36M))
    found = Reader(text)
    assert "1 test images were predicted; without labels there are no errors to show." in found.text
    assert found.count("section", id="errors") == found.count("section", id="curves") == 0
    assert found.count("g", **{"class": "truth"}) == found.count("select") == 0
    assert found.count("svg", **{"class": "flat"}) == 2
    assert Reader(render(PageContent([notes()], 4, skeleton=HUMAN36M))).count("section", id="samples") == 0


def test_hostile_names_stay_names(report):
    runs = [notes(HOSTILE, starts=[{"command": HOSTILE}], settings={HOSTILE: HOSTILE}), notes("two")]
    samples = [replace(report.worst[0], name=HOSTILE)]
    heatmaps = [HeatmapMarginals(HOSTILE, "LWrist", {HOSTILE: np.zeros((4, 4, 3), np.uint8)})]
    clean, found = Reader(render(replace(report, worst=samples))), Reader(
        render(PageContent(runs, 3, report.comparison, samples, report.random, heatmaps, [HOSTILE], skeleton=HUMAN36M))
    )  # fmt: skip
    assert found.count("script") == clean.count("script") == 3
    assert not any("onerror" in attributes for _, attributes in found.tags)
    assert found.count("img", src="x") == 0
    assert HOSTILE in found.text


def test_the_policy_names_every_program_by_its_hash(report):
    text = render(report)
    policy = next(a["content"] for tag, a in Reader(text).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert policy.count("'sha256-") == 2
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_samples_are_whole_millimetres(report):
    found = Reader(render(report))
    data = re.search(r'id="report-data">(.*?)</script>', render(report))[1]
    sample = json.loads(data)["samples"][0]
    assert sample["truth"] == np.rint(report.worst[0].true_mm).astype(int).tolist()
    assert len(sample["predicted"]) == 2
    assert sample["errors"] == [80.0, 81.0]
    assert found.count("option") == 2


def test_the_largest_page_is_below_8_mb(report):
    """Five runs, 48 pictures of nothing but noise, long curves, heat maps of noise."""
    rng = np.random.default_rng(0)
    runs = [notes(f"run {i}", logged=[{"step": s, "group": g, "mpjpe_mm": rng.random(), "integral": rng.random()}
                                      for s in range(2000) for g in ("train", "val")]) for i in range(5)]  # fmt: skip
    noise = rng.integers(0, 256, (VIEW_PX, VIEW_PX, 3)).astype(np.uint8)
    sample = replace(report.worst[0], picture=noise, predicted_mm=[report.worst[0].true_mm] * 5, errors_mm=[1.0] * 5)
    marginals = draw_planes([rng.random((64, 64)) for _ in range(3)], [1, 2, 3], [3, 2, 1])
    heatmaps = [HeatmapMarginals("x", "LWrist", {run.name: marginals for run in runs})] * 4
    poses = [report.worst[0].true_mm[None]] * 5
    comparison = compare([np.concatenate(poses)] * 5, np.concatenate(poses), NAMES + NAMES[:2], HUMAN36M)
    text = render(PageContent(runs, 5, comparison, [sample] * 24, [sample] * 24, heatmaps, skeleton=HUMAN36M))
    assert 6e6 < len(text.encode()) < 8e6
