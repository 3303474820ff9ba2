"""The sheet of training images as the network gets them."""

from __future__ import annotations

import numpy as np
import pytest

from integral_pose.cli.main import main
from integral_pose.config.loading import load_config
from integral_pose.data.course import read_train
from integral_pose.experiment import augmented_sheet, train, training
from integral_pose.io.images import read_picture
from integral_pose.skeleton import HUMAN36M

STILL = ["scale=[1,1]", "translate_percent=[0,0]", "hue_saturation=[0,0]", "contrast=[1,1]", "brightness=[1,1]"]


def load(path, *changes):
    return load_config(str(path), [f"data.augmentation.{change}" for change in changes]).config


@pytest.mark.parametrize("backend", ["imgaug", "device"])
def test_pictures_and_labels_as_the_network_gets_them(backend, tiny_yaml, course_root, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(augmented_sheet, "write_contact_sheet", lambda path, cells, skeleton: shown.extend(cells))
    table = read_train(course_root)
    config = load(tiny_yaml, f"backend={backend}", "flip=1.0", *STILL)
    augmented_sheet.write_augmented_sheet(tmp_path / "a.png", config, table)
    assert [cell.title for cell in shown] == [table.name(row).rpartition("/")[2] for row in range(10)]
    for row, cell in enumerate(shown):
        mirrored = read_picture(course_root / "images" / table.name(row))[:, ::-1].astype(int)
        assert np.abs(cell.picture - mirrored).max() <= 5  # through OpenCV's 8-bit hue and back
        expected = table.joints_crop_px[row, list(HUMAN36M.flip_order)] * [-1, 1] + [64, 0]
        np.testing.assert_allclose(cell.joints_crop_px, expected, atol=1e-3)


def test_a_run_and_check_data_draw_the_same_sheet(tiny_yaml, course_root, tmp_path, capsys):
    config = load_config(
        str(tiny_yaml), ["data.augmentation={flip: 0.5, blur_px: [0, 1]}", "trainer.max_steps=1"]
    ).config
    sheet = train(config) / "pictures" / "augmented.png"
    drawn = sheet.read_bytes()
    sheet.unlink()
    train(config)  # a start of a run that is there already draws it again
    assert sheet.read_bytes() == drawn
    run_yaml, out = str(sheet.parents[1] / "config.yaml"), tmp_path / "new" / "sheet.png"
    assert main(["check-data", str(course_root), "--augmented", run_yaml, "--out", str(out)]) == 0
    assert f"{out}: training images as augmented" in capsys.readouterr().out
    assert out.read_bytes() == drawn


def test_a_sheet_that_cannot_be_drawn_stops_no_run(tiny_yaml, monkeypatch, capsys):
    def fail(*_):
        raise ValueError("no picture today")

    monkeypatch.setattr(training, "write_augmented_sheet", fail)
    folder = train(load_config(str(tiny_yaml), ["trainer.max_steps=1"]).config)
    assert (folder / "last.pt").exists()
    assert "augmented.png cannot be written: no picture today. Training goes on without it" in capsys.readouterr().err


def test_an_image_that_cannot_be_read_gives_its_place_to_the_next(tiny_values, own_course_root, write_yaml, tmp_path):
    table = read_train(own_course_root)
    (own_course_root / "images" / table.name(2)).write_bytes(b"")
    tiny_values["data"]["root"] = str(own_course_root)
    out = tmp_path / "sheet.png"
    augmented_sheet.write_augmented_sheet(out, load_config(str(write_yaml(tiny_values))).config, table)
    assert out.exists()
