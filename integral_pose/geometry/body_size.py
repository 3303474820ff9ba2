"""Whether poses are of people and in mm, by the length of all their bones together.

An adult's 16 bones of Human3.6M are about 4,100 mm. Other skeletons may have fewer bones, or more and shorter ones.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.geometry.labelled_means import labelled_mean
from integral_pose.skeleton import HUMAN36M, Skeleton

PLAUSIBLE_MM = (1000.0, 20_000.0)  # newborns have 1,300; wide enough for noise, narrower than any other unit's
ADULT_MM = (2500.0, 6500.0)
UNITS_MM = {"metres": 1000.0, "centimetres": 10.0, "inches": 25.4, "micrometres": 0.001}
MOST_BAD = 0.05  # of the poses: single rows are for check-data to find


def body_length_mm(joints_mm: NDArray[Any], skeleton: Skeleton) -> NDArray[np.float64]:
    """(N,) All bones of poses (N, J, 3) together; one that a pose does not show counts as it is in the others.

    NaN where no pose shows any.
    """
    children, parents = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    bones_mm = np.linalg.norm(joints_mm[:, children] - joints_mm[:, parents], axis=-1)
    if np.isnan(bones_mm).any():
        usual_mm = labelled_mean(bones_mm, axis=0)
        usual_mm = np.where(np.isnan(usual_mm), labelled_mean(usual_mm), usual_mm)
        bones_mm = np.where(np.isnan(bones_mm), usual_mm, bones_mm)
    length_mm: NDArray[np.float64] = bones_mm.sum(-1, dtype=np.float64)
    return length_mm


def require_mm(joints_mm: NDArray[Any], skeleton: Skeleton, source: str) -> None:
    """Raise DataError naming `source` where the bones of poses (N, J, 3) are not as long as people's in mm."""
    if fault := fault_of_unit(joints_mm, skeleton):
        raise DataError(f"{source}: {fault}")


def fault_of_unit(joints_mm: NDArray[Any], skeleton: Skeleton) -> str | None:
    """What is wrong with the size of poses (N, J, 3), and what to change; None where nothing is."""
    length_mm, share = body_length_mm(joints_mm, skeleton), len(skeleton.bones) / len(HUMAN36M.bones)
    if np.isnan(length_mm).all():  # no bone is to be seen
        return None
    low_mm, high_mm = PLAUSIBLE_MM[0] * min(1.0, share), PLAUSIBLE_MM[1] * max(1.0, share)
    bad = np.flatnonzero(~((length_mm >= low_mm) & (length_mm <= high_mm)))
    if len(bad) <= MOST_BAD * len(length_mm):
        return None
    found = float(np.median(length_mm[bad]))
    some = (
        "" if len(bad) == len(length_mm) else f" in {len(bad):,} of {len(length_mm):,} poses, the first in row {bad[0]}"
    )
    expected = "about 4,100 mm of an adult" if skeleton == HUMAN36M else f"{low_mm:,.0f} to {high_mm:,.0f} mm"
    return f"all bones together are {found:.4g} long{some}, expected {expected}: {_meaning(found)}"


def _meaning(found: float) -> str:
    for unit, factor in UNITS_MM.items():
        if ADULT_MM[0] <= found * factor <= ADULT_MM[1]:
            return f"are these {unit}? Multiply 'pose3d' by {factor:g}, and 'root_camera_mm' too where there is one"
    return "the poses are normalised, missing, or of another unit; write them in mm"
