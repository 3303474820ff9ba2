"""Poses of people in mm pass; those in another unit are refused with its name."""

import numpy as np
import pytest

from integral_pose.errors import DataError
from integral_pose.geometry.body_size import body_length_mm, require_mm
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.body_model import BODIES
from tests.geometry.test_sides import standing


def test_known_answer() -> None:
    line_mm = np.arange(17)[:, None] * [0, 0, 10.0]  # bones of 10 mm times the difference of their joints' numbers
    expected = 10 * sum(child - parent for child, parent in HUMAN36M.bones)
    assert body_length_mm(line_mm[None], HUMAN36M).tolist() == [pytest.approx(expected)]


def test_people_of_every_size_pass() -> None:
    assert len(BODIES) == 7
    for scale in (1, 1.3, 0.35):  # an adult, a giant, a newborn of half a metre
        require_mm(standing() * scale, HUMAN36M, "set")


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (0.001, "are these metres. Multiply 'pose3d' by 1000"),
        (0.1, "are these centimetres. Multiply 'pose3d' by 10,"),
        (1 / 25.4, "are these inches"),
        (1000, "are these micrometres"),
        (0.0003, "normalised, missing, or of another unit"),
        (0, "normalised, missing"),
    ],
)
def test_other_units_are_refused_by_name(factor: float, words: str) -> None:
    with pytest.raises(DataError, match=rf"^train\.h5: all bones together are .* long, expected .*{words}"):
        require_mm(standing() * factor, HUMAN36M, "train.h5")


def test_a_mixture_is_refused_and_a_few_odd_rows_are_not() -> None:
    poses_mm = standing(40)
    poses_mm[7] = 0
    require_mm(poses_mm, HUMAN36M, "train.h5")
    poses_mm[20:] /= 1000
    with pytest.raises(DataError, match=r"long in 21 of 40 poses, the first in row 7, .*are these metres"):
        require_mm(poses_mm, HUMAN36M, "train.h5")
