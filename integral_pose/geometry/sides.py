"""Joint order told from poses: which side is left, whatever the names of the joints are.

Files that descend from the coarse-to-fine release ('c2f') have the left leg where Human3.6M ('official') has the right
one. The trunk gives the person's up and forward, and their cross product the left.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import DataError

# Position i of Human3.6M's order (right leg first) holds this joint of the coarse-to-fine order; its own inverse.
C2F_TO_HUMAN36M = (0, 4, 5, 6, 1, 2, 3, *range(7, 17))
# Mean cosine between the line from right to left and the trunk's left: real sets give 0.8 to 1, noise near 0.
CLEAR = 0.4
CLEAR_OF_FEW, FEW = 0.7, 10  # a handful of twisted bodies can point anywhere


class SideEvidence(NamedTuple):
    """Mean cosine, over the poses that have one, of a line through two joints with the person's left."""

    hips: float  # joint 1 -> joint 4: positive where 1 is the right hip
    shoulders: float  # joint 14 -> joint 11: positive where 11 is the left shoulder
    num_poses: int

    @property
    def order(self) -> str:
        """'official', 'c2f', 'mirrored' (arms on the wrong side too) or 'unclear'."""
        if min(abs(self.shoulders), abs(self.hips)) < (CLEAR if self.num_poses >= FEW else CLEAR_OF_FEW):
            return "unclear"
        if self.shoulders > 0:
            return "official" if self.hips > 0 else "c2f"
        return "mirrored" if self.hips < 0 else "unclear"


def side_evidence(joints_mm: NDArray[Any]) -> SideEvidence:
    """The evidence of poses (N, 17, 3) in any right-handed axes, for instance camera or world mm."""
    joints_mm = np.asarray(joints_mm, dtype=np.float64)
    up = joints_mm[:, 8] - joints_mm[:, 0]
    forward = joints_mm[:, 9] - (joints_mm[:, 8] + joints_mm[:, 10]) / 2  # the chin stands out of the neck
    left = np.cross(up, forward)
    return SideEvidence(
        hips=_mean_cosine(joints_mm[:, 4] - joints_mm[:, 1], left),
        shoulders=_mean_cosine(joints_mm[:, 11] - joints_mm[:, 14], left),
        num_poses=len(joints_mm),
    )


def order_of_poses(joints_mm: NDArray[Any], setting: str, source: str) -> str:
    """'official' or 'c2f': the order in which poses (N, 17, 3) are stored.

    Where the poses do not tell, 'auto' means 'official'. Raises DataError naming `source` where they
    contradict `setting`, or where left and right are exchanged throughout.
    """
    evidence = side_evidence(joints_mm)
    found = evidence.order
    if found == "mirrored":
        raise DataError(
            f"{source}: the poses are mirrored: both the hips and the shoulders are on the wrong side of the trunk "
            f"(mean cosines {evidence.hips:.2f} and {evidence.shoulders:.2f}, expected both near 1). An axis has the "
            "wrong sign, or left and right names are exchanged throughout; camera axes are x right, y down, z forward"
        )
    if setting != "auto" and found not in ("unclear", setting):
        legs = {"official": "right leg at 1-3, left leg at 4-6", "c2f": "left leg at 1-3, right leg at 4-6"}
        raise DataError(
            f"{source}: data.joint_order says '{setting}' ({legs[setting]}), but the poses are in the order '{found}' "
            f"({legs[found]}): the mean cosine of the hips with the person's left is {evidence.hips:.2f}. "
            f"Set data.joint_order (of score: --joint-order) to auto or {found}"
        )
    return setting if setting != "auto" else ("c2f" if found == "c2f" else "official")


def to_human36m_order(joints: NDArray[Any], order: str) -> NDArray[Any]:
    """(..., 17, axes) stored in `order` -> Human3.6M's order; the array itself where that is the same."""
    return joints[..., C2F_TO_HUMAN36M, :] if order == "c2f" else joints


def _mean_cosine(line: NDArray[np.float64], left: NDArray[np.float64]) -> float:
    length = np.linalg.norm(line, axis=-1) * np.linalg.norm(left, axis=-1)
    known = np.isfinite(length) & (length > 0)
    if not known.any():
        return 0.0
    return float(np.mean((line * left).sum(axis=-1)[known] / length[known]))
