"""What `test` can be asked for, from the checkpoint to the files it writes."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
import torch

from integral_pose import experiment
from integral_pose.cli import main as cli
from integral_pose.config.loading import load_config
from integral_pose.data.course import read_test
from integral_pose.errors import CheckpointError, ConfigError, DataError
from integral_pose.evaluation.predictions_csv import csv_header, read_predictions_csv
from integral_pose.experiment.scoring import build_root_placement, build_scorer
from integral_pose.geometry.coordinates import ImageVolume
from integral_pose.geometry.lifting import at_root_depth
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.io.distributed import Processes
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.dataset import render_dataset
from integral_pose.synthetic.presets import EASY_MARKED
from integral_pose.weights.model_file import BONE_LENGTH_MM, ModelDescription, save_model_file
from tests.conftest import build_network_of

CPU = torch.device("cpu")


@pytest.fixture
def averaged_run(tiny_yaml, tiny_backbone):
    """A run that kept a moving average: best.pt has it alone, last.pt both."""
    return experiment.train(load_config(str(tiny_yaml), ["trainer.ema_decay=0.5", "trainer.max_steps=3"]).config)


def poses(csv):
    return read_predictions_csv(csv, HUMAN36M)


@pytest.mark.filterwarnings("ignore:.*the largest coordinate is")
def test_averaged_and_raw_weights_each_with_files_of_its_own(averaged_run):
    best = experiment.test(averaged_run, [])
    assert (best.predictions_csv.name, best.scores_json.name, best.weights) == (
        "predictions.csv", "scores.json", "averaged",
    )  # fmt: skip
    last = experiment.test(averaged_run / "last.pt", [])
    assert (last.predictions_csv.name, last.scores_json.name) == ("predictions-last.csv", "scores-last.json")
    np.testing.assert_array_equal(poses(last.predictions_csv), poses(best.predictions_csv))
    raw = experiment.test(averaged_run / "last.pt", ["evaluation.weights=raw"])
    assert raw.weights == json.loads(raw.scores_json.read_text())["weights"] == "raw"
    assert np.abs(poses(raw.predictions_csv) - poses(best.predictions_csv)).max() > 1e-3
    with pytest.raises(CheckpointError, match=r"best.pt: holds the averaged weights alone; take last.pt, or leave"):
        experiment.test(averaged_run, ["evaluation.weights=raw"])


@pytest.mark.filterwarnings("ignore:.*the largest coordinate is")
def test_checkpoints_of_one_run_in_one_table(averaged_run, capsys):
    assert cli.main(["test", str(averaged_run), str(averaged_run / "last.pt"), "evaluation.flip=true"]) == 0
    text = capsys.readouterr().out
    assert f"predictions  {averaged_run}/predictions.csv\nweights      averaged\n" in text
    rows = [line for line in text.splitlines() if line.startswith(f"| {averaged_run}")]
    assert [row.split("|")[1].strip() for row in rows] == [f"{averaged_run}/best.pt", f"{averaged_run}/last.pt"]
    assert rows[1].split("|")[5].strip() == "0.00"
    for pair in ([averaged_run, averaged_run / "best.pt"], [averaged_run / "last.pt"] * 2):
        assert cli.main(["test", *map(str, pair)]) == 2
        assert "would write one" in capsys.readouterr().err
    shutil.copy(averaged_run / "last.pt", averaged_run / "best.pth")
    assert cli.main(["test", str(averaged_run), str(averaged_run / "best.pth")]) == 0


@pytest.mark.filterwarnings("ignore:.*the largest coordinate is")
def test_runs_on_other_sets_are_not_paired(tiny_yaml, tiny_backbone, make_course, tmp_path, capsys):
    """Frame by frame makes sense on the same frames alone, though the sets be equally large."""
    folders = []
    for name, overrides in (("a", []), ("b", [f"data.root={make_course(seed=1)}"]), ("c", ["seed=1"])):
        config = load_config(str(tiny_yaml), ["trainer.max_steps=1", f"run_dir={tmp_path / name}", *overrides]).config
        folders.append(str(experiment.train(config)))
    assert cli.main(["test", *folders]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith(f"| {tmp_path}")]
    assert [row[6].strip() == "-" for row in rows] == [True, True, False]


@pytest.mark.filterwarnings("ignore:.*the largest coordinate is")
def test_results_of_other_data_go_beside_the_own(averaged_run, course_root, make_course, tmp_path, capsys):
    own = experiment.test(averaged_run, [])
    kept = own.predictions_csv.read_bytes()
    other = experiment.test(averaged_run, [f"data.root={make_course('other set', num_valid=3)}"])
    names = (other.predictions_csv.name, other.scores_json.name)
    assert names == ("predictions-other_set.csv", "scores-other_set.json")
    assert (len(poses(other.predictions_csv)), own.predictions_csv.read_bytes()) == (3, kept)
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tmp_path / "other set", tmp_path / "elsewhere/other set")
    for folder, is_replaced in (("other set", False), ("elsewhere/other set", True)):
        capsys.readouterr()
        experiment.test(averaged_run, [f"data.root={tmp_path / folder}"])
        said = f"the predictions of {tmp_path}/other set are replaced; --out FOLDER keeps both"
        assert (said in capsys.readouterr().err) is is_replaced
    (tmp_path / "link").symlink_to(course_root)
    assert experiment.test(averaged_run, [f"data.root={tmp_path}/link"]).predictions_csv == own.predictions_csv
    last = experiment.test(averaged_run / "last.pt", [f"data.root={tmp_path}/other set"])
    assert last.predictions_csv.name == "predictions-last-other_set.csv"


@pytest.mark.filterwarnings("ignore:.*the largest coordinate is")
def test_results_in_a_folder(averaged_run, tmp_path, capsys):
    before = sorted(averaged_run.iterdir())
    assert cli.main(["test", str(averaged_run), "--out", str(tmp_path / "a")]) == 0
    names = ["predictions.csv", "predictions.json", "scores.json"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    assert cli.main(["test", str(averaged_run), str(averaged_run / "last.pt"), "--out", str(tmp_path / "b")]) == 0
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("b/*/predictions*.csv"))
    assert found == ["b/run/predictions-last.csv", "b/run/predictions.csv"]
    assert sorted(averaged_run.iterdir()) == before
    (tmp_path / "file").touch()
    assert cli.main(["test", str(averaged_run), "--out", str(tmp_path / "file")]) == 2
    assert "file: is a file, expected a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["score", "p.csv", "--truth", "t.h5", "--json", "./p.csv"], ["export", "run", "--out", "run/best.pt"],
     ["import-weights", "posenet", "p.csv", "--out", "p.csv"]],
)  # fmt: skip
def test_a_result_never_replaces_what_it_is_made_of(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in ("p.csv", "run/best.pt"):
        (tmp_path / name).touch()
    assert cli.main(arguments) == 2
    assert "is what is read here and would be lost; name another file" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny_backbone")
def test_a_model_file_names_no_data(tiny_yaml, tmp_path):
    config = load_config(str(tiny_yaml)).config
    description = ModelDescription(config.model.model_dump(), (64, 64), HUMAN36M)
    save_model_file(tmp_path / "m.pt", description, build_network_of(config).state_dict())
    with pytest.raises(
        ConfigError, match=r"m.pt: a model file does not say where the images are; add data.root=FOLDER"
    ):
        experiment.test(tmp_path / "m.pt", [])


@pytest.mark.filterwarnings("ignore:.*the largest coordinate is")
def test_confidence_in_a_second_csv(averaged_run, capsys):
    plain = poses(experiment.test(averaged_run, ["evaluation.flip=true"]).predictions_csv)
    assert not (averaged_run / "confidence.csv").exists()
    assert cli.main(["test", str(averaged_run), "evaluation.confidence=true", "evaluation.flip=true"]) == 0
    assert f"confidence   {averaged_run / 'confidence.csv'}\n" in capsys.readouterr().out
    np.testing.assert_array_equal(poses(averaged_run / "predictions.csv"), plain)
    lines = (averaged_run / "confidence.csv").read_text().splitlines()
    assert lines[0].split(",") == csv_header(HUMAN36M, ("mass", "entropy"))
    assert lines[0].startswith("Id,Hip_mass,Hip_entropy,RHip_mass,")
    table = np.array([line.split(",") for line in lines[1:]], float)
    assert table[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert ((table[:, 1:] >= 0) & (table[:, 1:] <= 1)).all()
    assert (table[:, 2::2] > 0.5).all()  # after three steps heat maps are nearly flat


def test_confidence_needs_heat_maps(tiny_yaml, averaged_run):
    with pytest.raises(ConfigError, match="evaluation.confidence is read off volumetric heat maps, which model.head "
                       "'regression' does not make; set it to false"):  # fmt: skip
        load_config(str(tiny_yaml), ["model.head=regression", "evaluation.confidence=true"])


@pytest.mark.filterwarnings("ignore:.*the largest coordinate is")
@pytest.mark.parametrize("more", [["evaluation.crops=5"], ["evaluation.crops=7", "evaluation.precision=bf16"]])
def test_several_crops(averaged_run, more):
    single = poses(experiment.test(averaged_run, []).predictions_csv)
    result = experiment.test(averaged_run, more)
    assert np.abs(poses(result.predictions_csv) - single).max() > 1e-3
    assert json.loads(result.scores_json.read_text())["crops"] == int(more[0][-1])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.crops=2", "evaluation.crops: expected 1, 5 or 7, found 2"),
        ("evaluation.crops=true", "evaluation.crops: expected a valid integer, found True"),
        ("evaluation.weights=ema", "evaluation.weights: expected 'averaged' or 'raw', found 'ema'"),
        *((f"evaluation.root_depth={text}", "evaluation.root_depth: expected labels, bone_length or a depth in mm "
           f"greater than 0, found {shown}")
          for text, shown in (("0", "0"), ("-5", "-5"), ("bones", "'bones'"), ("true", "True"), ("1e999", "inf"),
                              ("[1]", r"\[1\]"))),
        ("evaluation.root_depth=5000", "evaluation.root_depth is 5000.0, which is for model.volume 'image'; with "
         "'metric' the network predicts mm"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(tiny_yaml, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(str(tiny_yaml), [override])


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("people") / "set"
    render_dataset(root, num_train=8, num_valid=4, seed=1, workers=1, difficulty=EASY_MARKED, show_progress=False)
    return root


class Truth(torch.nn.Module):
    """Predicts the labels of a test set, a little off in depth all together, as a network of the image volume would."""

    def __init__(self, table):
        super().__init__()
        self.space = ImageVolume(2000.0, 64, 64, HUMAN36M.root)
        px = torch.from_numpy(table.joints_crop_px) / 4
        self.norm = self.space.encode(torch.from_numpy(table.joints_camera_mm), px) + torch.tensor([0, 0, 0.02])

    def forward(self, images):
        return Coordinates(self.norm)


def image_volume(tiny_yaml, root, *overrides):
    return load_config(
        str(tiny_yaml), [f"data.root={root}", "data.stored_size=256", "model.volume=image", *overrides]
    ).config


def total_bone_length_mm(poses_mm):
    ends = np.array(HUMAN36M.bones)
    return np.linalg.norm(poses_mm[:, ends[:, 0]] - poses_mm[:, ends[:, 1]], axis=-1).sum(-1)


def test_depth_from_the_bones_of_the_training_poses(people, tiny_yaml):
    config = image_volume(tiny_yaml, people, "evaluation.root_depth=bone_length")
    table = read_test(people)
    model = Truth(table)
    place_root, words = build_root_placement(config, model.space, HUMAN36M)
    found = build_scorer(config, table, CPU, Processes(), place_root)(model)
    with h5py.File(people / "annot/train.h5") as file:
        expected_mm = total_bone_length_mm(file["pose3d"][()]).mean()
    np.testing.assert_allclose(total_bone_length_mm(found.joints_camera_mm), expected_mm, atol=0.5)
    # People of about the right size stand about where they are.
    errors_mm = np.linalg.norm(found.joints_camera_mm - table.joints_camera_mm, axis=-1)
    assert 1 < errors_mm.mean() < 60
    assert words == f"root depth by bone length, {expected_mm:,.0f} mm in all (the mean of annot/train.h5)"


def test_a_given_depth(people, tiny_yaml):
    config = image_volume(tiny_yaml, people, "evaluation.root_depth=3000")
    table = read_test(people)
    model = Truth(table)
    place_root, words = build_root_placement(config, model.space, HUMAN36M)
    found = build_scorer(config, table, CPU, Processes(), place_root)(model)
    views = table.views.batch(np.arange(4), np.array([0.25, 0.25], np.float32))
    expected = model.space.decode(model.norm, at_root_depth(views, 3000.0))
    np.testing.assert_allclose(found.joints_camera_mm, expected, atol=1e-3)
    assert words == "root depth 3000 mm, as given"


@pytest.mark.filterwarnings("ignore:.*the largest coordinate is")
@pytest.mark.usefixtures("tiny_backbone")
def test_a_set_that_does_not_say_where_people_stand(people, tiny_yaml, tmp_path, capsys):
    root = tmp_path / "people"
    shutil.copytree(people, root)
    folder = experiment.train(image_volume(tiny_yaml, root, "trainer.max_steps=1"))
    assert cli.main(["test", str(folder)]) == 0
    assert "lifting      root depth from the labels\n" in capsys.readouterr().out
    with h5py.File(root / "annot/valid.h5", "a") as file:
        del file["root_camera_mm"]
    with pytest.raises(DataError, match="evaluation.root_depth is labels, but .*valid.h5 has no 'root_camera_mm'; say"):
        experiment.test(folder, [])
    assert cli.main(["test", str(folder), "--root-depth", "4500"]) == 0
    assert "lifting      root depth 4500 mm, as given\n" in capsys.readouterr().out
    assert json.loads((folder / "scores.json").read_text())["lifting"] == "root depth 4500 mm, as given"
    # A foreign test set comes without training poses.
    (root / "annot/train.h5").unlink()
    result = experiment.test(folder, ["evaluation.root_depth=bone_length", "evaluation.confidence=true"])
    assert result.lifting == (
        f"root depth by bone length, {BONE_LENGTH_MM:,.0f} mm in all (of the packaged bodies, as there is no "
        "annot/train.h5)"
    )
    np.testing.assert_allclose(
        total_bone_length_mm(poses(result.predictions_csv)), BONE_LENGTH_MM, atol=40
    )  # nearly flat heat maps stand far away
