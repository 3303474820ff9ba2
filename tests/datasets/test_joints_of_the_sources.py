"""Which stored joint becomes which of ours, against the sources' own lists, written down here once more."""

from __future__ import annotations

from integral_pose.datasets.human36m import JOINTS
from integral_pose.datasets.mpi_inf_3dhp import TEST_ORDER, TRAIN_ORDER
from integral_pose.skeleton import HUMAN36M

# Human3.6M's 32 joints, as its skeleton names them.
HUMAN36M_32 = (
    "Hips", "RightUpLeg", "RightLeg", "RightFoot", "RightToeBase", "Site", "LeftUpLeg", "LeftLeg", "LeftFoot",
    "LeftToeBase", "Site", "Spine", "Spine1", "Neck", "Head", "HeadSite", "LeftShoulder", "LeftArm", "LeftForeArm",
    "LeftHand", "LeftHandThumb", "Site", "L_Wrist_End", "Site", "RightShoulder", "RightArm", "RightForeArm",
    "RightHand", "RightHandThumb", "Site", "R_Wrist_End", "Site",
)  # fmt: skip
OURS = {
    "Hip": "Hips", "RHip": "RightUpLeg", "RKnee": "RightLeg", "RFoot": "RightFoot", "LHip": "LeftUpLeg",
    "LKnee": "LeftLeg", "LFoot": "LeftFoot", "Spine": "Spine1", "Thorax": "Neck", "Neck/Nose": "Head",
    "Head": "HeadSite", "LShoulder": "LeftArm", "LElbow": "LeftForeArm", "LWrist": "LeftHand",
    "RShoulder": "RightArm", "RElbow": "RightForeArm", "RWrist": "RightHand",
}  # fmt: skip


def test_human36m() -> None:
    assert {name: HUMAN36M_32[stored] for name, stored in zip(HUMAN36M.names, JOINTS, strict=True)} == OURS


def test_mpi_inf_3dhp() -> None:
    """Of the 28 joints of the training set the numbers 6 and 7, and of the 17 of the test set 16 and 0, are head and
    head top."""
    legs_and_trunk = (4, 23, 24, 25, 18, 19, 20, 3, 5, 6, 7)
    assert tuple(TRAIN_ORDER) == (*legs_and_trunk, 9, 10, 11, 14, 15, 16)
    assert tuple(TEST_ORDER) == (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)
