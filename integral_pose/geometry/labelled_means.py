"""Means over what is labelled in an array of NumPy, where NaN stands for no label."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array


def labelled_mean(values: NDArray[Any], axis: int | None = None) -> Any:
    """NaN where nothing is labelled. Where all is, it is NumPy's own mean, to the last bit."""
    known = ~np.isnan(values)
    if known.all():
        return values.mean(axis)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis) / known.sum(axis)


def mean_and_deviation(poses_mm: Array) -> tuple[Array, Array]:
    """(J, 3) each of poses (N, J, 3); 0 where no pose has a label, as at the root."""
    mean_mm = labelled_mean(poses_mm, axis=0)
    if not np.isnan(poses_mm).any():
        return mean_mm, poses_mm.std(0)
    std_mm = np.sqrt(labelled_mean((poses_mm - mean_mm) ** 2, axis=0))
    return np.nan_to_num(mean_mm), np.nan_to_num(std_mm)


def is_labelled(joints: NDArray[Any]) -> NDArray[np.bool_]:
    """(..., J) which joints (..., J, axes) have all their coordinates."""
    known: NDArray[np.bool_] = ~np.isnan(joints).any(-1)
    return known
