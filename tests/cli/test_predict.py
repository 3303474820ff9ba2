"""`integral-pose predict` as a user types it: what it writes, and one clear message for what it cannot do."""

from __future__ import annotations

import csv
import io
import json
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from integral_pose.cli import main as cli
from integral_pose.config.schema import ModelConfig
from integral_pose.models.pose_net import build_network
from integral_pose.predict import box_finder, results
from integral_pose.skeleton import Skeleton
from integral_pose.weights.model_file import ModelDescription, save_model_file

THREE = Skeleton(("Pelvis", "L", "R"), {"L": "Pelvis", "R": "Pelvis"}, (("L", "R"),))
BOX = "10,5,40,50"


@pytest.fixture
def model(tmp_path, tiny_backbone):
    torch.manual_seed(0)
    section = {"backbone": "resnet18", "num_joints": 3, "deconv_channels": [8], "volume_depth": 4}
    weights = build_network(ModelConfig(**section), (64, 64), 0, pretrained=False).state_dict()
    save_model_file(tmp_path / "m.pt", ModelDescription(section, (64, 64), THREE), weights)
    return str(tmp_path / "m.pt")


@pytest.fixture
def folder(tmp_path):
    """Two photographs, one of them further down."""
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    (tmp_path / "in/sub").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "in/a.png")
    Image.fromarray(pixels[::-1].copy()).save(tmp_path / "in/sub/b.jpg")
    return tmp_path / "in"


def predict(*arguments):
    return cli.main(["predict", *(str(argument) for argument in arguments)])


def tables(out):
    with (out / "poses.csv").open(newline="") as file:
        return json.loads((out / "poses.json").read_text()), list(csv.DictReader(file))


def test_an_image(model, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(model, folder / "a.png", "--box", BOX, "--box", "0,0,80,60", "--out", out) == 0
    assert capsys.readouterr() == (f"{out}: 2 people in 1 images; poses.json, poses.csv\n", "")
    assert predict(model, folder / "a.png", "--box", BOX, "--box", "0,0,80,60", "--out", out) == 0
    said = f"{out}: poses.json and poses.csv of an earlier call are replaced; other pictures of it stay\n"
    assert capsys.readouterr().err == said
    found, rows = tables(out)
    (image,) = found["images"]
    assert (found["joints"], image["file"], image["width_px"], image["boxes_from"]) == (
        list(THREE.names),
        "a.png",
        80,
        "given",
    )
    first, second = image["people"]
    assert (first["box_px"], first["placement"], first["root_camera_mm"]) == ([10, 5, 40, 50], "box", None)
    assert first["joints_camera_mm"][0] == [0, 0, 0]
    assert len(rows) == 6
    assert (rows[4]["person"], rows[4]["joint"], rows[4]["camera_x_mm"]) == ("2", "L", "")
    assert [float(rows[4][key]) for key in ("x_mm", "y_mm", "z_mm")] == second["joints_camera_mm"][1]
    assert [float(rows[4][key]) for key in ("x_px", "y_px")] == second["joints_image_px"][1]
    assert float(rows[4]["confidence"]) == second["confidence"][1]
    overlay = np.array(Image.open(out / "overlays/a.png.png"))
    before = np.array(Image.open(folder / "a.png"))
    assert overlay.shape == before.shape
    assert 0.02 < (overlay != before).any(-1).mean() < 0.6  # lines over the photograph, which else stays as it was
    assert Image.open(out / "figures/a.png.png").size == (1080, 2 * 270 + 36)


def test_people_in_an_overlay_carry_number_and_confidence(model, folder, tmp_path, monkeypatch):
    labels = []

    def draw(picture, *rest):
        labels.append(rest[-1])
        return picture

    monkeypatch.setattr("integral_pose.predict.results.draw_people", draw)
    out = tmp_path / "out"
    assert predict(model, folder / "a.png", "--box", BOX, "--box", "0,0,80,60", "--out", out) == 0
    people = tables(out)[0]["images"][0]["people"]
    means = [np.mean(person["confidence"]) for person in people]
    assert labels == [[f"{number}: {mean:.2f}" for number, mean in enumerate(means, start=1)]]
    sure = types.SimpleNamespace(confidence=None)
    assert results._label(3, sure) == "3"  # of a network without heat maps


def test_a_folder_with_boxes_and_intrinsics(model, folder, tmp_path):
    boxes, out = tmp_path / "boxes.json", folder / "out"
    boxes.write_text(json.dumps({"a.png": [[10, 5, 40, 50]]}))
    for _ in range(2):  # what the first run wrote is no image of the folder
        assert predict(model, folder, "--boxes", boxes, "--focal", "500", "--root-depth", "3000", "--out", out) == 0
    found, rows = tables(out)
    assert [(image["file"], len(image["people"])) for image in found["images"]] == [("a.png", 1), ("sub/b.jpg", 0)]
    person = found["images"][0]["people"][0]
    assert (person["placement"], person["root_camera_mm"][2]) == ("box, root depth, intrinsics", 3000)
    x, y, z = (float(rows[1][f"camera_{axis}_mm"]) for axis in "xyz")
    np.testing.assert_allclose(person["joints_image_px"][1], [500 * x / z + 40, 500 * y / z + 30], atol=0.01)
    assert (out / "overlays/sub/b.jpg.png").exists()


def test_a_damaged_file_of_a_folder_costs_the_others_nothing(model, folder, tmp_path, capsys):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no")
    out = tmp_path / "out"
    assert predict(model, folder, "--whole-image", "--no-pictures", "--out", out) == 3
    text = capsys.readouterr().err.splitlines()[-1]
    assert f"1 of 3 images could not be read; the other 2 are in {out}. " in text
    assert "broken.jpg: " in text
    found, rows = tables(out)
    assert (len(found["images"]), len(found["not_read"]), len(rows)) == (2, 1, 6)
    assert sorted(path.name for path in out.iterdir()) == ["poses.csv", "poses.json"]


def test_nothing_in_a_folder_is_passed_over_in_silence(model, folder, tmp_path, capsys):
    """HEIC as phones save it is a fault; other kinds of picture are read, whatever their names; the rest is named."""
    picture = Image.open(folder / "a.png")
    for name in ("c.jfif", "d.gif", "e.avif"):
        picture.save(folder / name, **({"format": "JPEG"} if name == "c.jfif" else {}))
    (folder / "f.jpg_large").write_bytes((folder / "c.jfif").read_bytes())
    (folder / "g.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    picture.save(folder / "h.gif", save_all=True, append_images=[picture.rotate(90)])
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden").write_text("x")
    out = tmp_path / "out"
    assert predict(model, folder, "--whole-image", "--no-pictures", "--out", out) == 3
    err = capsys.readouterr().err
    assert f"{folder}: one file is no picture and is passed over: notes.txt\n" in err
    found = tables(out)[0]
    names = ["a.png", "c.jfif", "d.gif", "e.avif", "f.jpg_large", "sub/b.jpg"]
    assert [image["file"] for image in found["images"]] == names
    first, second = found["not_read"]
    assert "g.HEIC: is HEIC, as some phones save it, which is not read; convert it to JPEG" in first
    assert "h.gif: holds 2 pictures; save the one that is meant" in second
    assert f"2 of 8 images could not be read; the other 6 are in {out}. {first}\n  {second}\n" in err


def test_accents_are_the_same_letters_in_tables_and_file_names(model, folder, tmp_path):
    (folder / "a.png").rename(folder / "cafe\u0301.png")  # as macOS writes it
    boxes, intrinsics = tmp_path / "boxes.json", tmp_path / "k.csv"
    boxes.write_text(json.dumps({"caf\u00e9.png": [[10, 5, 40, 50]]}))
    intrinsics.write_text("file,fx,fy,cx,cy\ncaf\u00e9.png,500,500,40,30\n")
    arguments = ["--boxes", boxes, "--intrinsics", intrinsics, "--no-pictures", "--out", tmp_path / "out"]
    assert predict(model, folder, *arguments) == 0
    people = [image["people"] for image in tables(tmp_path / "out")[0]["images"]]
    assert [len(each) for each in people] == [1, 0]
    assert "intrinsics" in people[0][0]["placement"]


def test_a_video_that_was_cut_short_gives_its_frames_and_a_status(model, tmp_path, capsys):
    pytest.importorskip("av", reason="the package av of the extra `prepare` is not installed")
    from tests.predict.test_predict_videos import noise_video

    path = noise_video(tmp_path / "a.mkv", number=6)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert predict(model, path, "--box", "0,0,64,48", "--no-pictures", "--out", tmp_path / "out") == 3
    found, rows = tables(tmp_path / "out")
    assert [image["time_s"] for image in found["images"]] == [0.0, 0.1, 0.2]
    assert [row["time_s"] for row in rows] == ["0.0"] * 3 + ["0.1"] * 3 + ["0.2"] * 3
    said = f"{path}: ends after 3 frames, 0.30 s before the end that its header says; it was cut short"
    assert found["not_read"] == [said]
    assert f"{said}; the frames before are in {tmp_path / 'out'}" in capsys.readouterr().err


def test_standard_input(model, folder, tmp_path, monkeypatch):
    content = io.BytesIO((folder / "a.png").read_bytes())
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=content))
    assert predict(model, "-", "--box", BOX, "--out", tmp_path / "out") == 0
    assert tables(tmp_path / "out")[0]["images"][0]["file"] == "stdin"
    assert (tmp_path / "out/overlays/stdin.png").exists()


def test_a_video_with_boxes_by_frame(model, tmp_path):
    av = pytest.importorskip("av", reason="the package av of the extra `prepare` is not installed")
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 80, 60, "yuv420p"
        for number in range(5):
            picture = np.full((60, 80, 3), 40 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    boxes, out = tmp_path / "boxes.csv", tmp_path / "out"
    boxes.write_text("frame,x,y,w,h\n0,10,5,40,50\n2,10,5,40,50\n2,20,5,40,50\n")
    assert predict(model, tmp_path / "v.mp4", "--boxes", boxes, "--out", out) == 0
    found, rows = tables(out)
    assert [(image["frame"], len(image["people"])) for image in found["images"]] == [
        (0, 1),
        (1, 0),
        (2, 2),
        (3, 0),
        (4, 0),
    ]
    assert [row["frame"] for row in rows] == ["0"] * 3 + ["2"] * 6
    with av.open(str(out / "overlays/v.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    # Two frames a second: those at 0, 1 and 2 seconds, of which the last shows nobody.
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["v.mp4.000000.png", "v.mp4.000002.png"]


def test_people_that_a_detector_finds(model, folder, tmp_path, monkeypatch):
    class Detector:
        def __init__(self, weights, device):
            assert str(weights) == "w.pth"

        def boxes(self, picture):
            return np.array([[1.0, 2, 30, 40]])

    monkeypatch.setattr(box_finder, "PersonDetector", Detector)
    assert predict(model, folder / "a.png", "--detector-weights", "w.pth", "--out", tmp_path / "out") == 0
    image = tables(tmp_path / "out")[0]["images"][0]
    assert (image["boxes_from"], image["people"][0]["box_px"]) == ("detector", [1, 2, 30, 40])


def test_a_name_like_a_formula_is_a_path_in_the_tables(model, folder, tmp_path):
    (folder / "a.png").rename(folder / "=1+1.png")
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"=1+1.png": [[10, 5, 40, 50]]}))
    assert predict(model, folder, "--boxes", boxes, "--no-pictures", "--out", tmp_path / "out") == 0
    assert {row["file"] for row in tables(tmp_path / "out")[1]} == {"./=1+1.png"}


@pytest.mark.parametrize(
    ("source", "options", "status", "message"),
    [
        ("none.jpg", [], 3, "none.jpg: there is no such file"),
        ("none.mp4", [], 3, "none.mp4: there is no such video"),
        ("bad.mp4", [], 3, "bad.mp4: cannot be read as a video"),
        ("empty", [], 3, "empty: this folder holds no image; expected .jpg"),
        ("text.jpg", [], 3, "text.jpg: is damaged or no image (of no known kind"),
        ("a.png", ["--box", "900,0,10,10"], 3, "a.png: the box 900,0,10,10 lies outside of the picture of 80 x 60 px"),
        ("a.png", ["--box", "1,2,3,0"], 2, "--box: expected four finite numbers x, y, w, h, w and h above 0"),
        ("a.png", ["--boxes", "none.json"], 3, "none.json: cannot be read as JSON"),
        ("a.png", ["--boxes", "other.json"], 3, "has no box for any of these pictures; expected 'a.png'"),
        ("a.png", ["--root-depth", "9"], 2, "a root depth says nothing without intrinsics"),
        ("a.png", ["--out", "text.jpg"], 2, "--out text.jpg: is a file, expected a folder"),
        ("line\nbreak.png", [], 3, "this file name has control characters, which terminals obey; rename the file"),
    ],
)  # fmt: skip
def test_one_clear_message(source, options, status, message, model, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    (folder / "bad.mp4").write_bytes(b"no video")
    (folder / "text.jpg").write_text("no image")
    (folder / "other.json").write_text('{"x.png": [[1, 2, 30, 40]]}')
    chosen = options if options and "box" in options[0] else ["--whole-image", *options]
    out = [] if "--out" in options else ["--out", "results"]
    assert predict(model, source, *chosen, *out) == status
    lines = [line for line in capsys.readouterr().err.splitlines() if "integral-pose predict" in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (folder / "results").exists()


def test_no_model(folder, tmp_path, capsys):
    assert predict(tmp_path / "none.pt", folder, "--whole-image", "--out", tmp_path / "out") == 5
    assert "none.pt: there is no such run folder or checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "1,2,3"], "argument --box: expected four finite numbers with commas between them, found '1,2,3'"),
        (["--box", "1,2,nan,4"], "expected four finite numbers"),
        (["--box", BOX, "--whole-image"], "not allowed with argument"),
        (["--intrinsics", "a,b,c,d"], "argument --intrinsics: expected four finite numbers"),
        (["--focal", "-3"], "argument --focal: expected a number above 0, found '-3'"),
        (["--root-depth", "inf"], "argument --root-depth: expected a number above 0, found 'inf'"),
    ],
)
def test_wrong_usage(options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        predict("m.pt", "a.png", "--out", "o", *options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_file_of_intrinsics_and_boxes_of_another_form(model, folder, tmp_path, capsys):
    (tmp_path / "i.json").write_text(json.dumps({"a.png": [90, 90, 40, 30]}))
    corners = ("--box", "10,5,50,55", "--box-form", "xyxy", "--intrinsics", tmp_path / "i.json")
    assert predict(model, folder, *corners, "--out", tmp_path / "out") == 0
    assert "i.json has no intrinsics for 1 of 2 pictures" in capsys.readouterr().err
    (first,), (second,) = (image["people"] for image in tables(tmp_path / "out")[0]["images"])
    assert first["box_px"] == second["box_px"] == [10, 5, 40, 50]
    assert (first["placement"], second["placement"]) == ("box, intrinsics", "box")
    assert predict(model, folder, "--box", "50,25,70,55", "--out", tmp_path / "again") == 0
    assert "2 of 2 boxes are tiny or leave the picture; all lie within it as xyxy" in capsys.readouterr().err
