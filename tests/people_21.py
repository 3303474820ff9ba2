"""A skeleton that is not Human3.6M's: its 17 joints in another order, hands and toes, and the root at the end."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.skeleton import HUMAN36M, Skeleton

ENDS = {"LHand": "LWrist", "RHand": "RWrist", "LToe": "LFoot", "RToe": "RFoot"}
PEOPLE_21 = Skeleton(
    (*ENDS, *reversed(HUMAN36M.names)),
    {**ENDS, **HUMAN36M.parent_names},
    (("LHand", "RHand"), ("LToe", "RToe"), *HUMAN36M.mirror_pairs),
)
# The 17 among the 21.
HUMAN36M_IN_21 = [PEOPLE_21.names.index(name) for name in HUMAN36M.names]


def to_people_21(joints: NDArray[Any]) -> NDArray[Any]:
    """(.., 17, axes) -> (.., 21, axes): a hand or toe is a quarter of the last bone beyond its end."""
    at = {name: joints[..., i, :] for i, name in enumerate(HUMAN36M.names)}
    for name, end in ENDS.items():
        at[name] = 1.25 * at[end] - 0.25 * at[HUMAN36M.parent_names[end]]
    return np.stack([at[name] for name in PEOPLE_21.names], axis=-2).astype(joints.dtype)
