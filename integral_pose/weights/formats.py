"""Checkpoint formats of other projects for integral regression: joints, pixels, depth, names of the weights.

All of them are a ResNet, deconvolutions and one 1 x 1 convolution with channel = joint * depth + cell. What their
files do not say is stated here. Joints get our names, so that everything else finds them by name; cell i of n of an
axis lies at i / n (`cells: edge`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from integral_pose.skeleton import HUMAN36M, Skeleton

SHOULDERS = "ShoulderMiddle"  # the mean of both shoulders: called Thorax there, while our Thorax is called Neck

# Theirs -> ours, for weights trained on Human3.6M with an 18th joint.
HUMAN36M_NAMES = {
    "Pelvis": "Hip", "R_Hip": "RHip", "R_Knee": "RKnee", "R_Ankle": "RFoot", "L_Hip": "LHip", "L_Knee": "LKnee",
    "L_Ankle": "LFoot", "Torso": "Spine", "Neck": "Thorax", "Nose": "Neck/Nose", "Head": "Head",
    "L_Shoulder": "LShoulder", "L_Elbow": "LElbow", "L_Wrist": "LWrist", "R_Shoulder": "RShoulder",
    "R_Elbow": "RElbow", "R_Wrist": "RWrist", "Thorax": SHOULDERS,
}  # fmt: skip
# MuCo-3DHP: the middle of the head stands in for Neck/Nose, as in `datasets.mpi_inf_3dhp`.
MUCO_NAMES = {
    "Head_top": "Head", "Thorax": "Thorax", "R_Shoulder": "RShoulder", "R_Elbow": "RElbow", "R_Wrist": "RWrist",
    "L_Shoulder": "LShoulder", "L_Elbow": "LElbow", "L_Wrist": "LWrist", "R_Hip": "RHip", "R_Knee": "RKnee",
    "R_Ankle": "RFoot", "L_Hip": "LHip", "L_Knee": "LKnee", "L_Ankle": "LFoot", "Pelvis": "Hip", "Spine": "Spine",
    "Head": "Neck/Nose", "R_Hand": "RHand", "L_Hand": "LHand", "R_Toe": "RToe", "L_Toe": "LToe",
}  # fmt: skip
MPII_NAMES = {
    "r_ankle": "RFoot", "r_knee": "RKnee", "r_hip": "RHip", "l_hip": "LHip", "l_knee": "LKnee", "l_ankle": "LFoot",
    "pelvis": "Hip", "thorax": "Thorax", "upper_neck": "Neck/Nose", "head_top": "Head", "r_wrist": "RWrist",
    "r_elbow": "RElbow", "r_shoulder": "RShoulder", "l_shoulder": "LShoulder", "l_elbow": "LElbow",
    "l_wrist": "LWrist",
}  # fmt: skip

_LEGS = {"RHip": "Hip", "RKnee": "RHip", "RFoot": "RKnee", "LHip": "Hip", "LKnee": "LHip", "LFoot": "LKnee"}
_ARMS = {"LElbow": "LShoulder", "LWrist": "LElbow", "RElbow": "RShoulder", "RWrist": "RElbow"}
HUMAN36M_18 = Skeleton(
    tuple(HUMAN36M_NAMES.values()),
    {  # the tree along which Sun et al. measure the length of a body
        **_LEGS, "Spine": "Hip", SHOULDERS: "Hip", "Thorax": SHOULDERS, "Neck/Nose": SHOULDERS, "Head": "Thorax",
        "LShoulder": SHOULDERS, "RShoulder": SHOULDERS, **_ARMS,
    },
    HUMAN36M.mirror_pairs,
)  # fmt: skip
MUCO_21 = Skeleton(
    tuple(MUCO_NAMES.values()),
    {
        **_LEGS, "Spine": "Hip", "Thorax": "Spine", "Neck/Nose": "Thorax", "Head": "Neck/Nose",
        "LShoulder": "Thorax", "RShoulder": "Thorax", **_ARMS,
        "RHand": "RWrist", "LHand": "LWrist", "RToe": "RFoot", "LToe": "LFoot",
    },
    (*HUMAN36M.mirror_pairs, ("LHand", "RHand"), ("LToe", "RToe")),
)  # fmt: skip
MPII_16 = Skeleton(
    tuple(MPII_NAMES.values()),
    {
        **_LEGS, "Thorax": "Hip", "Neck/Nose": "Thorax", "Head": "Neck/Nose",
        "LShoulder": "Thorax", "RShoulder": "Thorax", **_ARMS,
    },
    HUMAN36M.mirror_pairs,
)  # fmt: skip

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET = tuple(255 * value for value in _MEAN), tuple(255 * value for value in _STD)
# 3DMPPE and its ancestor do not divide by 255, so their weights were trained on 255 times larger numbers.
UNSCALED = _MEAN, _STD

# Sides of the crops over those of the tight box of a standing person's joints.
TIGHT_BOX = 1.49  # a pixel less than that box, 1.2 times as large, and 1.25 times that is cut out
METRIC_BOX = 1.31  # 2 m at the root's depth; the joints of the smallest subject, standing, span 1.53 m
DETECTED_BOX = 1.25

HUMAN36M_18_MM = 4502.881  # length of all bones of HUMAN36M_18: mean over Human3.6M, from the published code
MUCO_21_MM = 4600.0  # our bodies' 4130, an estimated 90 a hand and 145 a foot


@dataclass(frozen=True)
class KeyLayout:
    """Names of a network's parts in a state dict."""

    backbone: str  # before torchvision's names
    deconvolutions: str
    last: str  # {} is the position behind the deconvolutions

    def parts(self, num_deconvolutions: int) -> Iterator[tuple[str, str]]:
        """(their prefix, ours) of every part; where two fit a key, the first is meant."""
        yield self.last.format(3 * num_deconvolutions) + ".", "head.to_volume."
        yield self.deconvolutions + ".", "head.deconvolutions."
        yield self.backbone, "backbone.resnet."


@dataclass(frozen=True)
class CheckpointFormat:
    """Checkpoints of one project that differ in their backbone and their widths alone."""

    layout: KeyLayout
    skeleton: Skeleton
    depth: int  # cells
    image_size: tuple[int, int]  # height, width in px
    normalisation: tuple[Sequence[float], Sequence[float]]  # mean and deviation of RGB 0..255
    box_scale: float  # sides of the crop over those of the box of the joints
    bone_length_mm: float | None = None
    depth_extent_mm: float = 2000.0
    depth_extent_crop_px: float | None = None
    undo_lens: bool = False  # all of these projects make their labels with a pinhole
    note: str = ""

    @property
    def num_channels(self) -> int:
        """Channels of the last convolution, which distinguish the formats of a project."""
        return self.skeleton.num_joints * self.depth


POSENET_LAYOUT = KeyLayout("backbone.", "head.deconv_layers", "head.final_layer")
INTEGRAL_LAYOUT = KeyLayout("backbone.", "head.features", "head.features.{}")
EPIPOLAR_LAYOUT = KeyLayout("", "deconv_layers", "final_layer")


def _posenet(box_scale: float) -> tuple[CheckpointFormat, ...]:
    return tuple(
        CheckpointFormat(POSENET_LAYOUT, skeleton, 64, (256, 256), UNSCALED, box_scale, length_mm)
        for skeleton, length_mm in ((HUMAN36M_18, HUMAN36M_18_MM), (MUCO_21, MUCO_21_MM))
    )


def _challenge(depth: int, image_size: tuple[int, int]) -> CheckpointFormat:
    """Depth in pixels of the crop, over its width, and a body scaled to the mean length."""
    return CheckpointFormat(
        INTEGRAL_LAYOUT, HUMAN36M_18, depth, image_size, IMAGENET, DETECTED_BOX, HUMAN36M_18_MM,
        depth_extent_crop_px=float(image_size[1]), note="the form of the ECCV 2018 challenge",
    )  # fmt: skip


CHECKPOINT_FORMATS: dict[str, tuple[CheckpointFormat, ...]] = {
    "posenet": _posenet(TIGHT_BOX),
    "mks-integral": _posenet(METRIC_BOX),
    "integral": (
        CheckpointFormat(INTEGRAL_LAYOUT, HUMAN36M_18, 64, (256, 256), IMAGENET, METRIC_BOX, HUMAN36M_18_MM,
             note="taken for its Human3.6M form; the ECCV 2018 challenge's for 256 px has the same shapes, and is "
                  "imported as integral-challenge"),
        _challenge(72, (384, 288)),
    ),
    "integral-challenge": (_challenge(64, (256, 256)), _challenge(72, (384, 288))),
    "epipolar": (
        CheckpointFormat(EPIPOLAR_LAYOUT, HUMAN36M, 64, (256, 256), IMAGENET, METRIC_BOX),
        CheckpointFormat(EPIPOLAR_LAYOUT, MPII_16, 64, (256, 256), IMAGENET, METRIC_BOX,
             note="16 joints in MPII's order; weights from MPII alone have never learnt depth"),
    ),
}  # fmt: skip
PROJECT_NAMES = {
    "posenet": "3DMPPE PoseNet",
    "mks-integral": "PoseNet's ancestor Integral-Human-Pose-Regression-for-3D-Human-Pose-Estimation",
    "integral": "integral-human-pose of Sun et al. 2018",
    "integral-challenge": "integral-human-pose of Sun et al. 2018",
    "epipolar": "EpipolarPose",
}
