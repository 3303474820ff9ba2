"""The report command: what it reads, says and predicts itself, and the page in a real browser."""

from __future__ import annotations

import copy
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
from conftest import TINY, TinyFeatures, write_course

from integral_pose.cli import main as cli
from integral_pose.config.schema import Config
from integral_pose.errors import CheckpointError, ConfigError, DataError
from integral_pose.experiment import reporting, tested_run, train
from integral_pose.experiment import test as predict_run
from integral_pose.experiment.reporting import write_report
from integral_pose.io.checkpoint_file import save_checkpoint

# After two steps all joints still lie near the hip, which looks like another unit.
pytestmark = pytest.mark.filterwarnings("ignore:.*the largest coordinate is")

# A name that would run a program, were it not written as text. No slash: it is the name of a folder too.
HOSTILE = "<img src=x onerror=alert(1)>"


def small_run(folder: Path, root: Path, **changes: Any) -> Path:
    """Two steps of training and the predictions of the test set."""
    values = copy.deepcopy(TINY)
    values["run_dir"], values["data"]["root"] = str(folder), str(root)
    for section, entries in changes.items():
        values[section] |= entries
    values["data"]["val_subjects"], values["trainer"]["max_steps"], values["evaluation"]["every"] = ["S8"], 2, 1
    run = train(Config.model_validate(values))
    predict_run(run, [])
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs, one of them with a hostile name, and the data set. Shared: to be copied before anything is changed."""
    folder = tmp_path_factory.mktemp("reported")
    root = write_course(folder / "data", num_valid=60, side=64)
    _rename_image(root, f"S9_{HOSTILE}.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("integral_pose.models.pose_net.build_backbone", TinyFeatures)
        return {
            "root": root,
            "first": small_run(folder / "first", root),
            "second": small_run(folder / HOSTILE, root, model={"head": "regression"}),
        }


def _rename_image(root: Path, name: str) -> None:
    """Call the first test image so, and make its label the worst of all."""
    names = (root / "annot" / "valid_images.txt").read_text().splitlines()
    (root / "images" / names[0]).rename(root / "images" / name)
    (root / "annot" / "valid_images.txt").write_text("\n".join([name, *names[1:]]) + "\n")
    with h5py.File(root / "annot" / "valid.h5", "r+") as file:
        file["pose3d"][0] = 2 * file["pose3d"][0]


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> Path:
    """The first run, the test's own to change; heat maps take most of a page's time, so it is one."""
    monkeypatch.setattr(reporting, "NUM_HEATMAPS", 1)
    monkeypatch.setattr("integral_pose.models.pose_net.build_backbone", TinyFeatures)
    return Path(shutil.copytree(trained["first"], tmp_path / "run"))


def no_labels(trained: dict[str, Path], folder: Path) -> Path:
    root = Path(shutil.copytree(trained["root"], folder))
    (root / "annot" / "valid.h5").unlink()
    return root


def page(paths: list[Path], *overrides: str, out: Path | None = None) -> str:
    return write_report(paths, overrides, out).read_text("utf-8")


def test_a_run_on_its_own(run, capsys, monkeypatch):
    monkeypatch.setattr(reporting, "NUM_HEATMAPS", 3)
    monkeypatch.setattr(reporting, "MOST_HEATMAP_PICTURES", 2)
    assert cli.main(["report", str(run)]) == 0
    assert re.fullmatch(rf"report  {run}/report.html \(\d\.\d MB\)\n", capsys.readouterr().out)
    text = (run / "report.html").read_text()
    assert text.count('class="card"') == 48
    assert text.count("Marginals of the heat map") == 2
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<img src=x" not in text
    scores = json.loads((run / "scores.json").read_text())
    assert f"<strong>{scores['mpjpe_mm']:.1f}</strong>" in text
    assert write_report([run], (), run / "pages") == run / "pages" / "report.html"
    assert 'class="remark"' not in text
    errors_mm = [int(number) for number in re.findall(r"<b data-run=\"0\">(\d+) mm", text)]
    assert errors_mm[:24] == sorted(errors_mm[:24], reverse=True)
    assert max(errors_mm[24:]) <= errors_mm[23] < errors_mm[0]
    worst_card = text[text.index('data-sample="0"') :].partition("</button>")[0]
    assert "onerror" in worst_card  # the image whose label was made the worst


def test_several_runs_and_no_heat_maps_of_one(trained, run, tmp_path):
    text = page([run, trained["second"]], out=tmp_path / "page.html")
    assert "predicts joints without heat maps, so none of its are shown." in text
    assert "less the first" in text
    assert text.count('<option value="') == 2
    assert "What differs:" in text
    assert "model.head" in text
    assert page([run, trained["second"]], out=tmp_path / "again.html") == text


def test_predictions_are_made_where_there_are_none_of_this_checkpoint(trained, run, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(tested_run, "test", lambda path, overrides: calls.append(path) or predict_run(path, overrides))

    def opened(path, *overrides):
        calls.clear()
        found = tested_run.open_tested_run(path, "name", overrides)
        return len(calls), found.scores is not None

    assert opened(run) == (0, True)
    (run / "predictions.csv").unlink()
    assert opened(run) == (1, True)
    os.utime(run / "predictions.csv", (1, 1))
    assert opened(run) == (0, True)  # time stamps say nothing
    shutil.copy(run / "last.pt", run / "best.pt")  # another checkpoint, and older by its time stamp
    os.utime(run / "best.pt", (1, 1))
    assert opened(run) == (1, True)
    assert opened(run) == (0, True)
    relabelled = Path(shutil.copytree(trained["root"], tmp_path / "relabelled"))
    assert opened(run, f"data.root={relabelled}") == (0, True)  # the same data elsewhere
    with h5py.File(relabelled / "annot/valid.h5", "r+") as file:
        file["pose3d"][0, 5] += 10
    assert opened(run, f"data.root={relabelled}") == (1, True)
    assert opened(run) == (0, True)  # those of the other labels are in files of their own
    (run / "predictions.json").unlink()  # of before there were records
    assert opened(run) == (0, True)
    os.utime(run / "predictions.csv", (0, 0))
    assert opened(run) == (1, True)
    assert [opened(run / "last.pt") for _ in range(2)] == [(1, True), (0, True)]  # in files of its own
    assert opened(run) == (0, True)
    unlabelled = f"data.root={no_labels(trained, tmp_path / 'unlabelled')}"
    assert [opened(run / "last.pt", unlabelled) for _ in range(2)] == [(1, False), (0, False)]
    assert opened(run / "last.pt") == (0, True)  # the predictions of the other set are in files of their own


def test_without_labels(trained, run, tmp_path):
    text = page([run], f"data.root={no_labels(trained, tmp_path / 'unlabelled')}")
    assert "60 test images were predicted; without labels there are no errors to show." in text
    assert "There are no labels at" in text
    assert text.count('class="card"') == 24
    assert 'class="truth"' not in text


def test_without_images_the_labels_still_count(trained, run, tmp_path):
    root = Path(shutil.copytree(trained["root"], tmp_path / "imageless"))
    shutil.rmtree(root / "images")
    scores = run / "scores.json"
    scores.write_text(scores.read_text().replace(str(trained["root"]), str(root)))
    text = page([run], f"data.root={root}")
    assert "No pictures and heat maps: " in text
    assert "<img" not in text
    assert text.count('class="card"') == 48
    assert text.count('class="truth"') == 96


def test_without_any_data_the_stored_scores_are_shown(trained, run, tmp_path):
    scores = run / "scores.json"
    scores.write_text(scores.read_text().replace(str(trained["root"]), str(tmp_path / "gone")))
    text = page([run], f"data.root={tmp_path / 'gone'}")
    assert "No pictures and heat maps: data.root" in text
    assert f"<strong>{json.loads(scores.read_text())['mpjpe_mm']:.1f}</strong>" in text
    assert text.count('class="card"') == 24


def test_a_damaged_picture_is_left_out_and_named(trained, run, tmp_path):
    root = Path(shutil.copytree(trained["root"], tmp_path / "damaged"))
    (root / "images" / f"S9_{HOSTILE}.jpg").write_bytes(b"no picture")
    scores = run / "scores.json"
    scores.write_text(scores.read_text().replace(str(trained["root"]), str(root)))
    text = page([run], f"data.root={root}")
    assert "A picture is left out: " in text
    assert text.count("test image ") == 47


def test_what_is_asked_for_in_vain(trained, run, tmp_path):
    with pytest.raises(ConfigError, match=r"'evaluation.flip=true' would change what is predicted"):
        page([run], "evaluation.flip=true")
    with pytest.raises(ConfigError, match="is named twice"):
        page([run, run / "last.pt"])
    with pytest.raises(ConfigError, match="a report compares up to 5 runs, found 6"):
        page([run] * 6)
    with pytest.raises(CheckpointError, match="holds neither best.pt nor last.pt"):
        page([trained["root"]])
    save_checkpoint(tmp_path / "foreign.pt", {"model": {}})
    with pytest.raises(CheckpointError, match="holds no configuration, so it is no run"):
        page([tmp_path / "foreign.pt"])
    assert cli.main(["report", "data.root=x"]) == 2


def test_only_runs_on_one_test_set_are_compared(run, tmp_path):
    elsewhere = small_run(tmp_path / "elsewhere", write_course(tmp_path / "other", num_valid=60, seed=1))
    with pytest.raises(ConfigError, match="list other images; only runs on one test set"):
        page([run, elsewhere])
    drop_last_row(elsewhere)
    with pytest.raises(ConfigError, match="predicted 59 images, .* 60; only runs on one"):
        page([run, elsewhere])
    drop_last_row(run)
    with pytest.raises(DataError, match=r"lists 60 test images, .* has 59 rows"):
        page([run])


def drop_last_row(run: Path) -> None:
    csv = run / "predictions.csv"
    csv.write_text("\n".join(csv.read_text().splitlines()[:-1]) + "\n")
    (run / "scores.json").touch()  # else the predictions would be made anew


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("provenance.json", "{", "cannot be read as JSON"),
        ("provenance.json", "{}", "expected a list of starts"),
        ("scores.json", "[]", "holds no scores of this program"),
        (
            "scores.json",
            '{"mpjpe_mm": "x", "pa_mpjpe_mm": 1, "num_samples": 60}',
            r"holds no scores of this program \(mpjpe_mm Input should be a valid number\)",
        ),
    ],
)
def test_damaged_files_are_named(run, file, content, message):
    (run / file).write_text(content)
    with pytest.raises(DataError, match=f"{file}: {message}"):
        page([run])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, with WebGL in software."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no program 'chromium' (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        yield lambda *more: playwright.chromium.launch(executable_path=chromium, args=[
            "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", *more,
        ])  # fmt: skip


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory) -> Path:
    """The page of both runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("integral_pose.models.pose_net.build_backbone", TinyFeatures)
        patch.setattr(reporting, "NUM_HEATMAPS", 2)
        return write_report([trained["first"], trained["second"]], [], tmp_path_factory.mktemp("page") / "page.html")


def watched(tab: Any) -> list[str]:
    """What goes wrong in a tab from now on: errors, dialogs, and any request but for the page itself."""
    tab.set_default_timeout(120_000)  # WebGL in software takes its time on a busy machine
    faults: list[str] = []
    tab.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("dialog", lambda dialog: (faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
    tab.on("requestfailed", lambda request: faults.append(f"failed {request.url[:80]}"))
    tab.on("request", lambda request: faults.append(f"request {request.url[:80]}")
           if not request.url.startswith(("file:", "data:", "blob:")) else None)  # fmt: skip
    return faults


def still(element: Any) -> bytes:
    """A screenshot of an element once it has stopped changing."""
    before = b""
    for _ in range(20):
        now: bytes = element.screenshot()
        if now == before:
            return now
        before = now
        element.page.wait_for_timeout(200)
    raise AssertionError("the picture does not come to rest")


def settled(tab, expression):
    """The value of an expression that no longer changes while frames are drawn: a camera glides to its place."""
    drawn = f"new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done({expression}))))"
    found: list[Any] = []
    for _ in range(60):
        found = [*found[-3:], tab.evaluate(drawn)]
        if len(found) == 4 and all(value == found[0] for value in found):
            return found[0]
        tab.wait_for_timeout(200)
    raise AssertionError(f"{expression} is still changing: {found}")


@pytest.mark.slow
def test_in_a_browser(browser, written):
    chromium = browser("--enable-unsafe-swiftshader")
    tab = chromium.new_page(viewport={"width": 1400, "height": 900}, color_scheme="light")
    faults = watched(tab)
    tab.goto(written.as_uri())
    tab.wait_for_selector("#pose3d canvas")
    widths = tab.evaluate("[...document.images].map(image => image.complete && image.naturalWidth)")
    assert len(widths) == 48 + 2
    assert min(widths) > 0

    figure = tab.locator("#pose3d")
    figure.scroll_into_view_if_needed()
    before = still(figure)
    eye = "document.getElementById('pose3d')._fullLayout.scene._scene.getCamera().eye"
    eye_before, box = tab.evaluate(eye), figure.bounding_box()
    tab.mouse.move(box["x"] + 200, box["y"] + 200)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 320, box["y"] + 240, steps=6)
    tab.mouse.up()
    eye_turned = settled(tab, eye)
    turned = still(figure)
    assert turned != before
    assert eye_turned != eye_before

    tab.locator("[data-sample='3']").click()
    assert still(figure) != turned
    # Another person from the same side: on a busy machine the camera may have been kept before it had come to rest.
    eye_kept = settled(tab, eye)
    assert math.dist(eye_kept.values(), eye_turned.values()) < 0.25 * math.dist(eye_kept.values(), eye_before.values())
    assert tab.locator("[aria-pressed=true]").get_attribute("data-sample") == "3"
    data = json.loads(tab.text_content("#report-data"))
    drawn = tab.evaluate(
        "(t => [t.x, t.y, t.z])(document.getElementById('pose3d').data.find(t => t.mode === 'markers'))"
    )
    x, y, z = zip(*data["samples"][3]["predicted"][0], strict=True)
    assert drawn == [list(x), list(z), [-value for value in y]]  # upright and not mirrored: a turn about x
    tab.select_option("#run-choice", "1")
    hidden = tab.evaluate("[...document.querySelectorAll('[data-run]')].map(e => [e.dataset.run, e.style.display])")
    assert {tuple(pair) for pair in hidden} == {("0", "none"), ("1", "")}

    light = tab.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    tab.emulate_media(color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") != light
    tab.wait_for_function("document.querySelector('#error-curve text').style.fill === 'rgb(228, 231, 235)'")
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.wait_for_timeout(300)
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    assert faults == []
    chromium.close()
    assert written.stat().st_size < 8e6


@pytest.mark.slow
def test_in_a_browser_without_webgl(browser, written):
    chromium = browser("--disable-3d-apis")
    tab = chromium.new_page()
    faults = watched(tab)
    tab.goto(written.as_uri())
    tab.wait_for_selector("#pose3d p")
    assert "no WebGL" in tab.inner_text("#pose3d")
    assert tab.locator("#pose3d svg").count() == 2
    assert tab.locator("#error-curve .main-svg").count() > 0
    assert faults == []
    chromium.close()


@pytest.mark.slow
def test_the_policy_stops_what_the_escaping_would_let_through(browser, written, tmp_path):
    holed = tmp_path / "holed.html"
    holed.write_text(written.read_text().replace("<main>", f"<main>{HOSTILE}<script>alert(2)</script>", 1))
    chromium = browser()
    tab = chromium.new_page()
    faults = watched(tab)
    tab.goto(holed.as_uri())
    tab.wait_for_timeout(500)
    assert not any("dialog" in fault or "request http" in fault for fault in faults)
    assert any("Content Security Policy" in fault for fault in faults)
    chromium.close()
