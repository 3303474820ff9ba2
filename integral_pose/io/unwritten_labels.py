"""Joints that a file has no label of and writes as zeros: they would be learnt, and scored, as places."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.skeleton import Skeleton

REMEDY = "say which joints are labelled in a column 'visible' (N, J) of 0 and 1, or write NaN for the others"


def joints_at_zero(joints: NDArray[Any], root: int | None) -> NDArray[np.bool_]:
    """(N, J) which joints (N, J, axes) are exactly 0 on every axis; the `root`, if any, may be."""
    at_zero = np.all(joints == 0, axis=-1)
    if root is not None:
        at_zero[:, root] = False
    return at_zero


def axis_at_zero(joints: NDArray[Any]) -> int | None:
    """The axis on which every joint (N, J, axes) of several rows is exactly 0, as where depth is unknown."""
    at_zero = np.flatnonzero(~joints.any((0, 1)))
    return int(at_zero[0]) if len(joints) > 1 and len(at_zero) else None


def fault_of_zeros(joints: NDArray[Any], key: str, skeleton: Skeleton, root: int | None) -> str | None:
    """What of joints (N, J, axes), read from the column `key`, looks unlabelled; None where nothing does."""
    at_zero = joints_at_zero(joints, root)
    if at_zero.any():
        row, joint = np.argwhere(at_zero)[0]
        counts = f"{int(at_zero.sum()):,} joints of {int(at_zero.any(1).sum()):,} rows"
        return (
            f"{skeleton.names[joint]} is exactly 0 on every axis of '{key}' in row {row}; {counts} are so, as joints "
            f"without a label often are: {REMEDY}"
        )
    if (axis := axis_at_zero(joints)) is not None:
        return f"{'xyz'[axis]} is exactly 0 throughout '{key}', as of labels that are missing: {REMEDY}"
    return None


def refuse_zeros(joints: NDArray[Any], key: str, skeleton: Skeleton, source: str, *, root: int | None = None) -> None:
    """Raise DataError naming `source` where `fault_of_zeros` finds any."""
    if fault := fault_of_zeros(joints, key, skeleton, root):
        raise DataError(f"{source}: {fault}")
