"""A set of 21 joints, with the root at the end: through everything that a run of Human3.6M's joints goes through."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import integral_pose
from integral_pose import experiment
from integral_pose.cli.main import main
from integral_pose.config.schema import Config
from integral_pose.data.course import read_test
from integral_pose.errors import ConfigError, DataError
from integral_pose.evaluation.csv_scores import score_csv
from integral_pose.evaluation.predictions_csv import csv_header, read_predictions_csv
from integral_pose.evaluation.protocols import PROTOCOLS
from integral_pose.experiment.reporting import write_report
from integral_pose.io.checkpoint_file import load_checkpoint, save_checkpoint
from integral_pose.io.skeleton_file import write_skeleton
from integral_pose.skeleton import HUMAN36M, Skeleton
from integral_pose.weights.exporting import METADATA, export
from integral_pose.weights.stored_network import load_network
from tests.conftest import TINY, TinyFeatures, write_course
from tests.people_21 import HUMAN36M_IN_21, PEOPLE_21

pytestmark = pytest.mark.usefixtures("tiny_backbone")
CPU = ["trainer.device=cpu", "data.workers=0"]


@pytest.fixture(scope="module")
def root_21(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_course(tmp_path_factory.mktemp("data") / "people21", has_21_joints=True)


def config_of(root: Path, run: Path, **changes: Any) -> Config:
    values = json.loads(json.dumps(TINY)) | {"run_dir": str(run)}
    values["data"] |= {"root": str(root), "val_subjects": ["S1"], "augmentation": {"backend": "device", "flip": 0.5}}
    values["model"] |= {"axis_terms": True}  # begins at the mean pose, so that predictions are people
    values["evaluation"] |= {"every": 1, "flip": True}
    for section, keys in changes.items():
        values[section] |= keys
    return Config.model_validate(values)


@pytest.fixture(scope="module")
def run_21(root_21: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stopped after three steps, and continued to the end."""
    run = tmp_path_factory.mktemp("runs") / "run21"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("integral_pose.models.pose_net.build_backbone", TinyFeatures)
        experiment.train(config_of(root_21, run, trainer={"max_steps": 3}))
        experiment.train(config_of(root_21, run))
    return run


@pytest.fixture
def run_17(course_root: Path, tmp_path: Path) -> Path:
    return experiment.train(config_of(course_root, tmp_path / "run17", trainer={"max_steps": 2}))


def test_the_head_has_as_many_joints_as_the_data(run_21):
    assert "num_joints: 21" in (run_21 / "config.yaml").read_text()
    loaded = load_network(run_21)
    assert loaded.description.skeleton == PEOPLE_21
    assert loaded.network(torch.zeros(1, 3, 64, 64)).joints().shape == (1, 21, 3)
    assert loaded.description.bone_length_mm > 4400  # hands and toes more than Human3.6M's bones
    assert load_checkpoint(run_21 / "last.pt")["progress"]["epoch"] == 2


def test_predictions_scores_and_page_follow(run_21, root_21):
    result = experiment.test(run_21, CPU)
    assert result.predictions_csv.read_text().splitlines()[0] == ",".join(csv_header(PEOPLE_21))
    predicted_mm = read_predictions_csv(result.predictions_csv, PEOPLE_21)
    assert not predicted_mm[:, PEOPLE_21.root].any()
    scores, truth_mm = result.scores, read_test(root_21).joints_camera_mm
    assert list(scores.per_joint_mm) == list(PEOPLE_21.names)
    assert scores.mpjpe_mm == pytest.approx(np.linalg.norm(predicted_mm - truth_mm, axis=-1).mean(), abs=1e-3)
    assert result.mean_pose_name == "mean training pose"
    assert result.mean_pose.mpjpe_mm < 100  # noise of 40 mm about one standing pose
    again = score_csv(result.predictions_csv, root_21 / "annot/valid.h5")
    assert again.mpjpe_mm == pytest.approx(scores.mpjpe_mm, abs=1e-3)
    page = write_report([run_21], CPU, None).read_text()
    assert all(page.count(f"<th>{name}</th>") or page.count(name) for name in ("LHand", "RToe"))
    assert '"joints":["LHand","RHand","LToe","RToe","RWrist"' in page.replace(" ", "")


def test_protocols_of_named_joints_say_which_are_not_there(run_21, root_21, tmp_path):
    csv = experiment.test(run_21, CPU).predictions_csv
    joints = PROTOCOLS["3dhp"].joint_indices(PEOPLE_21)
    assert [PEOPLE_21.names[joint] for joint in joints[:2]] == ["Head", "Thorax"]
    without_head = HUMAN36M.of_joints([name for name in HUMAN36M.names if name != "Head"])
    with pytest.raises(DataError, match="protocol '3dhp' scores Head, which these poses do not have; they have: Hip"):
        PROTOCOLS["3dhp"].joint_indices(without_head)
    assert score_csv(csv, root_21 / "annot/valid.h5", PROTOCOLS["course"]).num_samples == 5


def test_export_and_photographs(run_21, root_21, tmp_path):
    exported = export(run_21, "onnx", tmp_path / "m.onnx")
    assert exported.metadata["joints"] == list(PEOPLE_21.names)
    assert exported.metadata["mirror_pairs"][0] == ["LHand", "RHand"]
    stored = onnx.load(tmp_path / "m.onnx").metadata_props
    assert json.loads(next(entry.value for entry in stored if entry.key == METADATA))["root"] == "Hip"
    model = integral_pose.load_model(run_21)
    image = next((root_21 / "images").iterdir())
    for flip in (False, True):
        pose = model.predict(image, flip=flip)[0]
        assert (pose.names, pose.joints_camera_mm.shape) == (PEOPLE_21.names, (21, 3))
        assert not pose.joints_camera_mm[PEOPLE_21.root].any()


def test_five_commands_know_the_21_joints(root_21, tmp_path, write_yaml):
    """As a user has it: train, test, report, export, predict."""
    run, image = tmp_path / "run", next((root_21 / "images").iterdir())
    config = write_yaml(config_of(root_21, run).model_dump(exclude_unset=True))
    assert main(["train", str(config), "trainer.max_steps=1"]) == 0
    assert main(["test", str(run), *CPU]) == 0
    assert list(json.loads((run / "scores.json").read_text())["per_joint_mm"]) == list(PEOPLE_21.names)
    assert read_predictions_csv(run / "predictions.csv", PEOPLE_21).shape == (5, 21, 3)
    assert main(["report", str(run), *CPU]) == 0
    assert '"joints":["LHand","RHand","LToe","RToe","RWrist"' in (run / "report.html").read_text().replace(" ", "")
    assert main(["export", str(run), "--format", "onnx", "--out", str(tmp_path / "m.onnx")]) == 0
    (about,) = (entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props if entry.key == METADATA)
    assert json.loads(about)["joints"] == list(PEOPLE_21.names)
    out = tmp_path / "poses"
    assert main(["predict", str(run), str(image), "--whole-image", "--device", "cpu", "--out", str(out)]) == 0
    found = json.loads((out / "poses.json").read_text())
    assert found["joints"] == list(PEOPLE_21.names)
    assert np.shape(found["images"][0]["people"][0]["joints_camera_mm"]) == (21, 3)


def test_a_stated_number_of_other_joints_is_one_error(root_21, tmp_path):
    message = "model.num_joints is 17, but the labels in .*people21 are of 21 joints; leave it out"
    with pytest.raises(ConfigError, match=message):
        experiment.train(config_of(root_21, tmp_path / "run", model={"num_joints": 17}))
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_continue_on_other_joints(run_17, root_21):
    with pytest.raises(integral_pose.errors.CheckpointError, match="num_joints: 17 there, 21 now"):
        experiment.train(config_of(root_21, run_17))


def test_a_network_of_more_joints_is_scored_on_those_of_the_set(run_21, root_21, course_root, tmp_path, capsys):
    result = experiment.test(run_21, [*CPU, f"data.root={course_root}"], tmp_path)
    assert "joints;" not in capsys.readouterr().err
    of_21_mm = read_predictions_csv(experiment.test(run_21, CPU).predictions_csv, PEOPLE_21)
    np.testing.assert_allclose(
        read_predictions_csv(result.predictions_csv, HUMAN36M), of_21_mm[:, HUMAN36M_IN_21], atol=1e-2
    )
    assert result.mean_pose_name == "mean training pose"
    assert result.mean_pose.mpjpe_mm < 100


def test_a_network_of_fewer_joints_is_scored_on_its_own(run_17, root_21, course_root, tmp_path, capsys):
    """In the order of the set, which is not Human3.6M's."""
    own = read_predictions_csv(experiment.test(run_17, CPU).predictions_csv, HUMAN36M)
    capsys.readouterr()
    result = experiment.test(run_17, [*CPU, f"data.root={root_21}"], tmp_path)
    assert "tested on 17 joints; " in (said := capsys.readouterr().err)
    assert "best.pt does not predict LHand, RHand, LToe, RToe\n" in said
    common = PEOPLE_21.of_joints(HUMAN36M.names[::-1])
    of_common = read_predictions_csv(result.predictions_csv, common)
    np.testing.assert_allclose(of_common[:, ::-1], own, atol=1e-2)
    assert result.has_some_joints
    scores = score_csv(result.predictions_csv, root_21 / "annot/valid.h5", some_joints=True)
    assert scores.mpjpe_mm == pytest.approx(result.scores.mpjpe_mm, abs=1e-3)
    with pytest.raises(DataError, match="the header has 52 columns, expected 64|'LHand_x'"):  # unless it is asked for
        score_csv(result.predictions_csv, root_21 / "annot/valid.h5")


def test_joints_that_cannot_be_matched_are_both_listed(run_21, own_course_root):
    renamed = Skeleton(
        ("Pelvis", *HUMAN36M.names[1:]),
        {child: "Pelvis" if parent == "Hip" else parent for child, parent in HUMAN36M.parent_names.items()},
        HUMAN36M.mirror_pairs,
    )
    write_skeleton(own_course_root / "annot", renamed)
    with pytest.raises(DataError, match="The network: LHand, RHand, .* The set: Pelvis, RHip, RKnee"):
        experiment.test(run_21, [*CPU, f"data.root={own_course_root}"])


def test_checkpoints_from_before_mean_human36m(run_17, course_root):
    expected = experiment.test(run_17, CPU).scores.mpjpe_mm
    content = load_checkpoint(run_17 / "best.pt")
    assert content["data"].pop("skeleton")["names"] == HUMAN36M.names
    path = run_17 / "old.pt"
    save_checkpoint(path, content)
    assert load_network(path).description.skeleton == HUMAN36M
    assert experiment.test(path, CPU).scores.mpjpe_mm == expected


def test_weights_are_taken_over_by_the_names_of_joints(run_17, root_21, tmp_path, capsys):
    experiment.train(config_of(root_21, tmp_path / "run", model={"init": str(run_17)}, trainer={"max_steps": 1}))
    assert "the last convolution of 17 of 21 joints" in capsys.readouterr().err
