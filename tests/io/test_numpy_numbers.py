"""NumPy's numbers in a pickle are read without NumPy's code, and nothing else is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from integral_pose.errors import CheckpointError
from integral_pose.io.checkpoint_file import load_tensors


@pytest.mark.parametrize("legacy", [True, False])
def test_numbers_become_pythons(legacy: bool, tmp_path: Path) -> None:
    numbers = [np.float64(-61.25), np.float32(0.5), np.int64(-7), np.uint8(200), np.bool_(True), np.float16(2)]
    torch.save({"perf": numbers}, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    found = load_tensors(tmp_path / "a.pt")["perf"]
    assert found == numbers
    assert [type(value) for value in found] == [float, float, int, int, bool, float]


@pytest.mark.parametrize("value", [np.datetime64("2020-01-01"), np.str_("a"), np.zeros(2), np.array([{}], object)])
def test_other_things_of_numpy_are_refused(value: object, tmp_path: Path) -> None:
    torch.save({"perf": value}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"numpy|NumPy"):
        load_tensors(tmp_path / "a.pt")
