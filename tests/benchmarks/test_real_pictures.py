"""Real photographs: every measure by hand; the command where the samples are, and where they are not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from benchmarks.__main__ import main
from benchmarks.real_pictures import errors_in_torsos, scores_of_crops, scores_of_people, table_row, turned_round
from benchmarks.real_samples import JOINTS, LabelledPerson, read_coco, read_mpii, samples_folder
from integral_pose.config.schema import Config
from integral_pose.io.checkpoint_file import save_checkpoint
from integral_pose.skeleton import HUMAN36M
from tests.conftest import STANDING_MM, build_network_of

SAMPLES, MISSING = samples_folder()
needs_samples = pytest.mark.skipif(bool(MISSING), reason=MISSING)
STANDING = STANDING_MM.astype(np.float64)
TURNED = STANDING[list(HUMAN36M.flip_order)]  # each limb where it is, under the other side's name
# A torso of 100 px: shoulders at y 0, hips at y 100.
PERSON_PX = np.array(
    [[40, 0], [-40, 0], [60, 50], [-60, 50], [60, 90], [-60, 90],
     [20, 100], [-20, 100], [20, 150], [-20, 150], [20, 200], [-20, 200]], float,
)  # fmt: skip


def exchanged(pose, joint):
    pose = pose.copy()
    left, right = (HUMAN36M.names.index(side + joint) for side in "LR")
    pose[[left, right]] = pose[[right, left]]
    return pose


def person(name, joints_px):
    return LabelledPerson(name, SAMPLES, np.array([0.0, 0, 1, 1]), joints_px)


def test_a_pose_whose_sides_are_all_exchanged_is_turned_round():
    one_pair = exchanged(STANDING, "Knee")
    poses = np.stack([STANDING, TURNED, one_pair])
    assert turned_round(poses, np.stack([STANDING] * 3)).tolist() == [False, True, False]


def test_a_person_turned_about_the_vertical_is_turned_round():
    about = STANDING * [-1, 1, -1]
    assert turned_round(about[None], STANDING[None]).tolist() == [True]


def test_the_scores_of_four_crops_by_hand():
    """S1 right; S5 30 mm off at every joint but the root; S7 with the wrists exchanged; S8 turned round."""
    moved = STANDING + [0, 0, 30] * (np.arange(17) > 0)[:, None]
    predicted = np.stack([STANDING, moved, exchanged(STANDING, "Wrist"), TURNED])
    found = scores_of_crops(["S1", "S5", "S7", "S8"], predicted, np.stack([STANDING] * 4))
    assert found["S1"] == pytest.approx(
        {"mpjpe_mm": 0, "pa_mpjpe_mm": 0, "swapped_sides": 0, "turned_round": 0}, abs=1e-9
    )
    assert found["S5"]["mpjpe_mm"] == pytest.approx(30 * 16 / 17)
    assert found["S7"]["swapped_sides"] == pytest.approx(1 / 6)
    assert found["S7"]["mpjpe_mm"] == pytest.approx(2 * 560 / 17)
    widths = np.abs(STANDING[:, 0]) * 2
    assert found["S8"] == pytest.approx(
        {**found["S8"], "mpjpe_mm": widths.mean(), "swapped_sides": 1, "turned_round": 1}
    )
    assert found["upright"]["mpjpe_mm"] == pytest.approx((0 + 2 * 560 / 17 + widths.mean()) / 3)
    assert found["upright"]["swapped_sides"] == pytest.approx(7 / 18)
    assert found["all"]["swapped_sides"] == pytest.approx(7 / 24)
    assert found["all"]["turned_round"] == 0.25


def test_errors_are_in_torsos():
    predicted_px = PERSON_PX + np.array([0, 30])
    assert errors_in_torsos(predicted_px, PERSON_PX) == pytest.approx([0.3] * 12)
    assert errors_in_torsos(predicted_px * 7, PERSON_PX * 7) == pytest.approx([0.3] * 12)


def test_pck_counts_labelled_joints_below_a_fifth_of_the_torso():
    first, second = PERSON_PX.copy(), PERSON_PX.copy()
    second[[10, 11]] = np.nan  # ankles that are not labelled
    off = PERSON_PX.copy()
    off[0] += [0, 19]  # counts
    off[1] += [20, 0]  # at the threshold: does not
    off[10] += [500, 0]
    found = scores_of_people([person("a", first), person("b", second)], [off, off])
    assert found == {"pck": pytest.approx(19 / 22), "joints": 22, "people": {"a": 10 / 12, "b": 9 / 10}}


def test_a_torso_without_labels_counts_nothing():
    unknown = PERSON_PX.copy()
    unknown[JOINTS.index("LHip")] = np.nan
    assert np.isnan(errors_in_torsos(PERSON_PX, unknown)).all()


def test_a_row_of_the_table():
    crop = {"mpjpe_mm": 100.04, "pa_mpjpe_mm": 60.0, "swapped_sides": 0.25, "turned_round": 0.0}
    crops = dict.fromkeys(("S1", "S5", "S7", "S8", "upright", "all"), crop) | {"S8": {**crop, "turned_round": 1.0}}
    row = table_row({"name": "mine", "crops": crops, "coco": {"pck": 0.5}, "mpii": {"pck": 0.614}})
    assert list(row) == [
        "model", "S1", "S7", "S8", "S5", "mean upright", "PA all", "swapped", "turned", "COCO PCK", "MPII PCK",
    ]  # fmt: skip
    assert list(row.values()) == [
        "mine", "100.0", "100.0", "100.0", "100.0", "100.0", "60.0", "25%", "S8", "50%", "61%",
    ]  # fmt: skip


@pytest.mark.parametrize("folder", [None, "elsewhere"])
def test_without_samples_the_command_says_so_and_ends_well(folder, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("INTEGRAL_POSE_SAMPLES", raising=False)
    if folder:
        monkeypatch.setenv("INTEGRAL_POSE_SAMPLES", str(tmp_path / folder))
    monkeypatch.chdir(tmp_path)
    assert main(["real_pictures", "runs/none"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("real_pictures: skipped: INTEGRAL_POSE_SAMPLES names no folder that holds h36m_real_sample")


@needs_samples
def test_the_labelled_people_of_the_samples():
    coco, mpii = read_coco(SAMPLES / "coco_sample"), read_mpii(SAMPLES / "mpii_sample")
    assert (len(coco), len(mpii)) == (12, 5)
    for one in coco + mpii:
        x, y, width, height = one.box_image_px
        known = one.joints_image_px[np.isfinite(one.joints_image_px[:, 0])]
        inside = (known >= [x - 15, y - 15]).all(1) & (known <= [x + width + 15, y + height + 15]).all(1)
        assert inside.all(), one.name
        assert np.isfinite(errors_in_torsos(one.joints_image_px, one.joints_image_px)).sum() >= 9
    # The skier of 000000000785 faces the camera; the man of 051423444 is seen from behind.
    for one, facing in ((coco[0], True), (mpii[2], False)):
        left, right = (one.joints_image_px[JOINTS.index(side + "Hip")] for side in "LR")
        assert (left[0] > right[0]) == facing


@needs_samples
@pytest.mark.usefixtures("tiny_backbone")
def test_an_untrained_network_gets_a_row_beside_the_mean_pose(tiny_values, tmp_path, capsys):
    weights = build_network_of(Config(**tiny_values), pretrained=False).state_dict()
    save_checkpoint(tmp_path / "run/best.pt", {"config": yaml.safe_dump(tiny_values), "model": weights})
    assert main(["real_pictures", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    mean_pose, network = json.loads((tmp_path / "out/real_pictures.json").read_text())["rows"]
    assert mean_pose["name"].startswith("mean pose of ")
    assert network["name"] == "run"
    assert {"S1", "S5", "S7", "S8", "upright", "all"} == network["crops"].keys()
    assert (network["coco"]["joints"], len(network["coco"]["people"])) == (135, 12)
    assert (network["mpii"]["joints"], len(network["mpii"]["people"])) == (56, 5)
    assert {path.name for path in (tmp_path / "out/run").iterdir()} == {"h36m.png", "coco.png", "mpii.png"}

    tiny_values.setdefault("evaluation", {})["flip"] = True
    content = {"config": yaml.safe_dump(tiny_values), "model": weights}
    save_checkpoint(tmp_path / "flipped/best.pt", content)
    assert main(["real_pictures", str(tmp_path / "flipped"), "--out", str(tmp_path / "out")]) == 0
    flipped = json.loads((tmp_path / "out/real_pictures.json").read_text())["rows"][1]
    assert flipped["crops"]["S1"]["mpjpe_mm"] != network["crops"]["S1"]["mpjpe_mm"], "as the run's test does it"
    assert "| model" in capsys.readouterr().out
