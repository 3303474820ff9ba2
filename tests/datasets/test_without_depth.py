"""A set parted by people: nothing is lost, and the part in px can be mixed in."""

import h5py
import pytest

from integral_pose.cli.main import main
from integral_pose.data.course import read_test, read_train
from integral_pose.datasets.check import check_data
from integral_pose.datasets.without_depth import part_by_subjects
from integral_pose.errors import DataError, OutputError


def test_people_are_parted(course_root, tmp_path, capsys):
    out = tmp_path / "half"
    assert (
        main(["prepare", "without-depth", "--source", str(course_root), "--out", str(out), "--subjects", "S6,S7"]) == 0
    )
    assert "mm/ has 6 training images with labels in mm, px/ 4 with labels in px alone" in capsys.readouterr().out
    whole, in_mm, in_px = (read_train(root) for root in (course_root, out / "mm", out / "px"))
    assert {in_px.name(row)[:2] for row in range(4)} == {"S6", "S7"}
    assert sorted([*in_mm.names, *in_px.names]) == sorted(whole.names)
    row = whole.names.tolist().index(in_px.names[1])
    assert (in_px.joints_crop_px[1] == whole.joints_crop_px[row]).all()
    assert not in_px.has_labels
    with h5py.File(out / "px/annot/train.h5") as file:
        assert "pose3d" not in file
    assert len(read_test(out / "mm")) == len(read_test(course_root))
    assert not [
        finding for finding in check_data(out / "px", show_progress=False).offenders if finding.check == "labels"
    ]


def test_what_cannot_be_parted_is_refused(course_root, tmp_path):
    for subjects in (["S9"], ["S1", "S5", "S6", "S7", "S8"]):
        with pytest.raises(DataError, match="are none or all of its training people: S1, S5, S6, S7, S8"):
            part_by_subjects(course_root, tmp_path / "half", subjects)
    with pytest.raises(OutputError, match="is there already"):
        part_by_subjects(course_root, tmp_path, ["S6"])
