"""Joint order told from poses: which side is left, whatever the names of the joints are.

Files that descend from the coarse-to-fine release ('c2f') have the left leg where Human3.6M ('official') has the right
one: then the line through the hips runs against the one through the shoulders. Whether both are on the wrong side, as
in mirrored poses, is told by what is in front of people: chins stand out, knees bend forwards. A joint votes where it
is clearly off its line; where the two kinds contradict each other, as in sets whose chin lies elsewhere, nothing is
refused.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import DataError

# Position i of Human3.6M's order (right leg first) holds this joint of the coarse-to-fine order; its own inverse.
C2F_TO_HUMAN36M = (0, 4, 5, 6, 1, 2, 3, *range(7, 17))
# Mean cosine between the lines through hips and shoulders: real sets give 0.9 to 1, noise near 0.
CLEAR = 0.4
CLEAR_OF_FEW, FEW = 0.7, 10  # a handful of twisted bodies can point anywhere
CHIN_MARGIN_MM, KNEE_MARGIN_MM = 10.0, 20.0  # off the line of its neighbours; rounding must not decide
MAJORITY, LEAST_VOTERS = 0.75, 3  # fewer than FEW voters have to agree


class Votes(NamedTuple):
    """How often what should be in front of a body is, and how often behind it, each by more than the margin."""

    forward: int
    backward: int

    @property
    def verdict(self) -> int:
        """1 for forward, -1 for backward, 0 where that is not clear."""
        voters = self.forward + self.backward
        if voters < LEAST_VOTERS:
            return 0
        needed = MAJORITY if voters >= FEW else 1.0
        return int(self.forward >= needed * voters) - int(self.backward >= needed * voters)


class SideEvidence(NamedTuple):
    """What poses tell of left and right."""

    agreement: float  # mean cosine of the lines from joint 1 to 4 (hips) and from 14 to 11 (shoulders)
    chins: Votes
    knees: Votes
    num_poses: int

    @property
    def is_backward(self) -> bool:
        """Whether the person's front is behind throughout, seen with the left shoulder at 11."""
        verdicts = (self.chins.verdict, self.knees.verdict)
        return min(verdicts) < 0 and max(verdicts) <= 0

    @property
    def order(self) -> str:
        """'official', 'c2f', 'mirrored' (the arms at least are on the wrong side) or 'unclear'."""
        if abs(self.agreement) < (CLEAR if self.num_poses >= FEW else CLEAR_OF_FEW):
            return "unclear"
        if self.is_backward:
            return "mirrored"
        return "official" if self.agreement > 0 else "c2f"

    @property
    def is_doubtful(self) -> bool:
        """Whether chins or knees say that the poses are mirrored, but not both."""
        return self.order != "mirrored" and min(self.chins.verdict, self.knees.verdict) < 0

    def __str__(self) -> str:
        return (
            f"hips along shoulders {self.agreement:+.2f} (1 official, -1 c2f); chins {self.chins.forward:,} forward, "
            f"{self.chins.backward:,} backward; knees {self.knees.forward:,}, {self.knees.backward:,}"
        )


def side_evidence(joints_mm: NDArray[Any]) -> SideEvidence:
    """The evidence of poses (N, 17, 3) in mm in any right-handed axes, for instance camera or world."""
    joints_mm = np.asarray(joints_mm, dtype=np.float64)
    hips, left = _unit(joints_mm[:, 4] - joints_mm[:, 1]), _unit(joints_mm[:, 11] - joints_mm[:, 14])
    forward = _unit(np.cross(left, joints_mm[:, 8] - joints_mm[:, 0]))
    known = hips.any(-1) & left.any(-1)
    # Either knee may be the left one: both bend to the same side.
    knees_mm = [_off_line_mm(joints_mm, hip, hip + 1, hip + 2, forward) for hip in (1, 4)]
    return SideEvidence(
        agreement=float((hips * left).sum(-1)[known].mean()) if known.any() else 0.0,
        chins=_count(_off_line_mm(joints_mm, 8, 9, 10, forward), CHIN_MARGIN_MM),
        knees=_count(np.concatenate(knees_mm), KNEE_MARGIN_MM),
        num_poses=len(joints_mm),
    )


def order_of_poses(joints_mm: NDArray[Any], setting: str, source: str) -> str:
    """'official' or 'c2f': the order in which poses (N, 17, 3) are stored.

    Where the poses do not tell, 'auto' means 'official'. Raises DataError naming `source` where left and right are
    exchanged throughout and the setting is 'auto', or where the legs contradict another setting.
    """
    evidence = side_evidence(joints_mm)
    found = evidence.order
    if found == "mirrored" and setting == "auto":
        raise DataError(
            f"{source}: the poses are mirrored: seen from their shoulders, chins and knees are behind people "
            f"({evidence}). An axis has the wrong sign, or left and right names are exchanged throughout; camera axes "
            "are x right, y down, z forward. If the poses are right, set data.joint_order (of score: --joint-order) to "
            "official, or c2f if the left leg is at 1-3"
        )
    if setting != "auto" and found not in ("unclear", "mirrored", setting):
        legs = {"official": "right leg at 1-3, left leg at 4-6", "c2f": "left leg at 1-3, right leg at 4-6"}
        raise DataError(
            f"{source}: data.joint_order says '{setting}' ({legs[setting]}), but the poses are in the order '{found}' "
            f"({legs[found]}): {evidence}. Set data.joint_order (of score: --joint-order) to auto or {found}"
        )
    return setting if setting != "auto" else ("c2f" if found == "c2f" else "official")


def require_official_order(joints_mm: NDArray[Any], source: str) -> None:
    """Raise DataError naming `source` where poses (N, 17, 3) are not in Human3.6M's order, or are mirrored."""
    if order_of_poses(joints_mm, "auto", source) != "official":
        raise DataError(
            f"{source}: the left leg is at 1-3, where the right one is expected: {side_evidence(joints_mm)}. The file "
            "is not as its project writes it"
        )


def doubt_of_sides(joints_mm: NDArray[Any], setting: str, source: str) -> str | None:
    """What to tell of poses that are used although some of them, or a setting, speak against it; None: nothing."""
    evidence = side_evidence(joints_mm)
    if evidence.order == "mirrored":
        return f"{source}: the poses look mirrored, and are used since data.joint_order is {setting} ({evidence})"
    if evidence.is_doubtful and setting == "auto":
        return (
            f"{source}: chins or knees are behind people as in mirrored poses, the other of the two is not: used as "
            f"they are ({evidence}). Look at check-data's contact sheet; data.joint_order=official if they are right"
        )
    return None


def to_human36m_order(joints: NDArray[Any], order: str) -> NDArray[Any]:
    """(..., 17, axes) stored in `order` -> Human3.6M's order; the array itself where that is the same."""
    return joints[..., C2F_TO_HUMAN36M, :] if order == "c2f" else joints


def _off_line_mm(
    joints_mm: NDArray[np.float64], first: int, joint: int, last: int, forward: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,) How far a joint is in front of the line through two others; NaN where one of them is not labelled."""
    line = _unit(joints_mm[:, last] - joints_mm[:, first], unknown=np.nan)
    offset_mm = joints_mm[:, joint] - joints_mm[:, first]
    offset_mm = offset_mm - (offset_mm * line).sum(-1, keepdims=True) * line
    in_front_mm: NDArray[np.float64] = (offset_mm * forward).sum(-1)
    return in_front_mm


def _count(in_front_mm: NDArray[np.float64], margin_mm: float) -> Votes:
    return Votes(int((in_front_mm > margin_mm).sum()), int((in_front_mm < -margin_mm).sum()))


def _unit(vectors: NDArray[np.float64], unknown: float = 0.0) -> NDArray[np.float64]:
    """Of length 1; 0 where there is no length, and `unknown` where a joint is not labelled."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return np.where(np.isnan(length), unknown, unit)
