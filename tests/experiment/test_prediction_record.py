"""What predictions are of is told by contents, not by names and time stamps."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from integral_pose.data.course import read_test
from integral_pose.experiment.prediction_record import is_of_checkpoint, is_of_data, read_record, write_record
from integral_pose.io.checkpoint_file import checksum_of, save_checkpoint


def test_another_checkpoint_with_the_same_time_stamp_is_another(course_root: Path, tmp_path: Path) -> None:
    checkpoint, path = tmp_path / "best.pt", tmp_path / "predictions.json"
    save_checkpoint(checkpoint, {"model": {"w": torch.zeros(3)}})
    before = checkpoint.stat()
    write_record(path, checkpoint, course_root, read_test(course_root), {"flip": True})
    record = read_record(path)
    assert record is not None
    assert record["flip"] is True
    assert is_of_checkpoint(record, checkpoint)
    save_checkpoint(checkpoint, {"model": {"w": torch.ones(3)}})
    os.utime(checkpoint, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not is_of_checkpoint(record, checkpoint)


def test_a_file_without_a_checksum_has_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(b"abc")
    assert checksum_of(tmp_path / "old.pt").startswith("ba7816bf")  # FIPS 180-2's example


def test_the_same_data_elsewhere_is_the_same(make_course: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"")
    first, copy, other = (make_course(name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    write_record(tmp_path / "r.json", tmp_path / "best.pt", first, read_test(first), {})
    record = read_record(tmp_path / "r.json")
    assert record is not None
    assert is_of_data(record, read_test(copy))
    assert not is_of_data(record, read_test(other))


def test_other_labels_of_the_same_images_are_other_data(course_root: Path, tmp_path: Path) -> None:
    """Where images of other sizes, written anew with the same content, are the same."""
    (tmp_path / "best.pt").write_bytes(b"")
    table = read_test(course_root)
    write_record(tmp_path / "r.json", tmp_path / "best.pt", course_root, table, {})
    record = read_record(tmp_path / "r.json")
    assert record is not None
    assert not is_of_data(record, replace(table, joints_camera_mm=table.joints_camera_mm + 1))
    assert is_of_data({**record, "data": {**record["data"], "sizes": "other"}}, table)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data": 3}', "\xff"])
def test_what_cannot_be_read_says_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text, "latin-1")
    assert read_record(tmp_path / "r.json") is None
    assert read_record(tmp_path / "missing.json") is None


def test_nonsense_is_of_no_data(course_root: Path, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"data": {"images": "x", "names": None}}))
    record = read_record(tmp_path / "r.json")
    assert record is not None
    assert not is_of_data(record, read_test(course_root))
    assert not is_of_checkpoint(record, course_root / "annot/valid.h5")
