"""The converter of docs/own_data.md, on pictures and a table as that page has them."""

import csv
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from integral_pose import experiment
from integral_pose.config.schema import Config
from integral_pose.data.course import read_train
from integral_pose.data.subjects import read_subjects
from integral_pose.datasets.check import check_data
from integral_pose.skeleton import HUMAN36M
from tests.conftest import TINY, draw_image, draw_poses

SCRIPT = Path(__file__).parents[1] / "docs/own_set.py"
JOINTS = {"Hip": "Hip", "Chest": "Thorax", "Head": "Head", "LHand": "LWrist", "RHand": "RWrist", "LFoot": "LFoot",
          "RFoot": "RFoot"}  # fmt: skip
PEOPLE = {"train": ("anna", "ben"), "valid": ("carl",)}


def write_source(folder: Path) -> None:
    """Six pictures a split of 90 x 90 px, one hand of one person without a label."""
    rng, rows = np.random.default_rng(0), []
    (folder / "pictures").mkdir()
    for split, subjects in PEOPLE.items():
        for number, (px, mm) in enumerate(zip(*draw_poses(6, 90, rng), strict=True)):
            name = f"{split}{number}.jpg"
            Image.fromarray(draw_image(90, rng)).save(folder / "pictures" / name)
            row = {"picture": name, "subject": subjects[number % len(subjects)], "split": split,
                   "sequence": f"walk{number // 2}"}  # fmt: skip
            for joint, ours in JOINTS.items():
                at = HUMAN36M.names.index(ours)
                row |= {f"{joint}_{axis}": value for axis, value in zip("uvxyz", [*px[at], *mm[at]], strict=True)}
            rows.append(row)
    rows[0] |= {f"RHand_{axis}": "nan" for axis in "uvxyz"}
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.usefixtures("tiny_backbone")
def test_the_converter_of_the_page_makes_a_set_to_train_from(tmp_path, monkeypatch):
    write_source(tmp_path)
    root = tmp_path / "data/mine"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, (tmp_path / "pictures", tmp_path / "labels.csv", root))])
    runpy.run_path(str(SCRIPT))
    table = read_train(root)
    assert table.skeleton.names == tuple(JOINTS)
    assert np.argwhere(np.isnan(table.joints_crop_px).any(-1)).tolist() == [[0, 4]]
    names = [table.name(row) for row in range(len(table))]
    assert set(read_subjects(root / "annot/train.h5", names)) == {"anna", "ben"}
    report = check_data(root, show_progress=False)
    assert not report.offenders
    assert "anna, ben train; carl test" in report.table()
    values = {**TINY, "run_dir": str(tmp_path / "run")}
    values["data"] = {**TINY["data"], "root": str(root), "stored_size": 256, "val_subjects": ["anna"]}
    values["trainer"] = {**TINY["trainer"], "max_steps": 1, "batch_size": 2}
    run = experiment.train(Config.model_validate(values))
    result = experiment.test(run, [])
    assert list(result.scores.per_joint_mm) == list(JOINTS)
    assert result.scores.num_sequences == 3
    low, high = result.scores.interval_mm
    assert low < result.scores.mpjpe_mm < high


def test_the_converter_is_short():
    """30 lines, as the page says, but for what is empty."""
    lines = SCRIPT.read_text().splitlines()
    body = lines[lines.index("pictures, table, root = map(Path, sys.argv[1:])") :]
    assert len([line for line in body if line.strip()]) <= 30
