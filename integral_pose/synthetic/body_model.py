"""The body model: bone lengths of seven people, and forward kinematics from a pose to their 17 joints.

Body axes: x forward, y left, z up, mm, origin on the floor below the hip. Limbs are set by where their ends
are and which way elbow and knee point, so that feet stand on the floor and joints bend as people's do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from integral_pose.contracts import Array
from integral_pose.skeleton import HUMAN36M

LEFT, RIGHT = 0, 1
SIDES = np.array([1.0, -1.0])  # sign of y on the left and on the right


@dataclass(frozen=True)
class Body:
    """Bone lengths in mm, `girth` (thickness, 1 = medium) and skin colour (RGB, 0..255) of one person."""

    hip_mm: float  # middle of the hip to either hip joint
    thigh_mm: float
    shank_mm: float
    spine_mm: float  # hip to spine
    chest_mm: float  # spine to thorax
    neck_mm: float  # thorax to nose
    head_mm: float  # nose to the top of the head
    clavicle_mm: float
    upper_arm_mm: float
    forearm_mm: float
    girth: float
    skin: tuple[float, float, float]

    @property
    def leg_mm(self) -> float:
        """Hip joint to ankle, stretched."""
        return self.thigh_mm + self.shank_mm

    @property
    def arm_mm(self) -> float:
        """Shoulder to wrist, stretched."""
        return self.upper_arm_mm + self.forearm_mm


BODIES = {
    "S1": Body(131, 440, 450, 232, 255, 120, 115, 150, 280, 250, 0.96, (226, 180, 152)),
    "S5": Body(122, 430, 440, 225, 252, 116, 114, 143, 266, 247, 0.90, (236, 196, 168)),
    "S6": Body(140, 455, 460, 240, 258, 118, 116, 158, 288, 256, 1.05, (204, 154, 122)),
    "S7": Body(134, 446, 436, 228, 256, 111, 113, 142, 274, 245, 0.93, (160, 112, 84)),
    "S8": Body(146, 452, 440, 256, 250, 120, 117, 166, 290, 246, 1.10, (218, 170, 140)),
    "S9": Body(137, 450, 452, 244, 253, 116, 115, 152, 282, 250, 1.07, (214, 166, 138)),
    "S11": Body(128, 438, 444, 234, 252, 114, 114, 148, 276, 248, 0.98, (228, 186, 160)),
}


class Pose(NamedTuple):
    """What a body does, whatever its size. Rows of the limbs: left, right; their y points outwards.

    Angles are (turn to the left, lean forward, tilt) in radians, each relative to the part below.
    """

    ankles: Array  # (2, 3) in leg lengths, from the floor below the hip joints
    knee_poles: Array  # (2, 3) the way the knees point, body axes
    wrists: Array  # (2, 3) in arm lengths, from the shoulders, axes of the chest
    elbow_poles: Array  # (2, 3) the way the elbows point, axes of the chest
    pelvis: Array  # (3,) angles
    spine: Array
    chest: Array
    head: Array
    hip_height: float | None  # in leg lengths; None: as high as the legs reach
    stretch: float  # share of the leg's length that a standing leg reaches
    seat: str  # what the hip rests on: 'none', 'stool' or 'floor'
    lying: tuple[float, float] | None = None  # laid down afterwards: roll about the body's own axis, lean of the whole

    def mirrored(self) -> Pose:
        """The pose in a mirror: left is right, and turns and tilts go the other way."""
        ankles, knee_poles, wrists, elbow_poles = (limbs[::-1] for limbs in self[:4])
        pelvis, spine, chest, head = (angles * (-1, 1, -1) for angles in self[4:8])
        lying = self.lying and (-self.lying[0], self.lying[1])
        return Pose(ankles, knee_poles, wrists, elbow_poles, pelvis, spine, chest, head, *self[8:11], lying)


class PosedBody(NamedTuple):
    """Where a body is. Axes are (3, 3) matrices with columns forward, left, up."""

    joints_mm: Array  # (17, 3)
    pelvis_axes: Array
    chest_axes: Array
    head_axes: Array
    toes: Array  # (2, 3) unit vectors along the feet, left and right

    def moved(self, rotation: Array, shift_mm: Array) -> PosedBody:
        """The same body in other axes: x -> rotation x + shift."""
        return PosedBody(
            self.joints_mm @ rotation.T + shift_mm,
            rotation @ self.pelvis_axes,
            rotation @ self.chest_axes,
            rotation @ self.head_axes,
            self.toes @ rotation.T,
        )


def rotation_matrix(turn: float, lean: float, tilt: float) -> Array:
    """Rotation about z by `turn`, then about the new y by `lean`, then about the new x by `tilt`; radians."""
    ct, st, cl, sl, cx, sx = (f(a) for a in (turn, lean, tilt) for f in (math.cos, math.sin))
    return np.array(
        [
            [ct * cl, ct * sl * sx - st * cx, ct * sl * cx + st * sx],
            [st * cl, st * sl * sx + ct * cx, st * sl * cx - ct * sx],
            [-sl, cl * sx, cl * cx],
        ]
    )


def pose_body(body: Body, pose: Pose) -> PosedBody:
    """The joints and axes of `body` in `pose`, in body axes."""
    pelvis_axes = rotation_matrix(*pose.pelvis)
    spine_axes = pelvis_axes @ rotation_matrix(*pose.spine)
    chest_axes = spine_axes @ rotation_matrix(*pose.chest)
    head_axes = chest_axes @ rotation_matrix(*pose.head)
    hip = np.array([0.0, 0.0, _hip_height_mm(body, pose)])
    spine = hip + spine_axes @ _direction(-0.1, 0, 1) * body.spine_mm
    thorax = spine + chest_axes @ _direction(0, 0, 1) * body.chest_mm
    nose = thorax + head_axes @ _direction(0.5, 0, 0.87) * body.neck_mm
    head = nose + head_axes @ _direction(-0.4, 0, 0.92) * body.head_mm

    at = HUMAN36M.names.index
    joints_mm = np.empty((HUMAN36M.num_joints, 3))
    for name, point in zip(
        ("Hip", "Spine", "Thorax", "Neck/Nose", "Head"), (hip, spine, thorax, nose, head), strict=True
    ):
        joints_mm[at(name)] = point
    toes = np.empty((2, 3))
    for side, letter in enumerate("LR"):
        leg = _leg(body, pose, side, hip, pelvis_axes)
        joints_mm[[at(f"{letter}{part}") for part in ("Hip", "Knee", "Foot")]] = leg
        joints_mm[[at(f"{letter}{part}") for part in ("Shoulder", "Elbow", "Wrist")]] = _arm(
            body, pose, side, thorax, chest_axes
        )
        toes[side] = _perpendicular(pose.knee_poles[side] * (1, SIDES[side], 1), leg[2] - leg[1])
    posed = PosedBody(joints_mm, pelvis_axes, chest_axes, head_axes, toes)
    return posed if pose.lying is None else _lay_down(posed, *pose.lying)


def _lay_down(posed: PosedBody, roll: float, lean: float) -> PosedBody:
    """Turned about its hip, then lowered until trunk or head lies on the floor, or a limb touches it."""
    laid = posed.moved(rotation_matrix(0, lean, 0) @ rotation_matrix(roll, 0, 0), np.zeros(3))
    thickness_mm = np.full(len(laid.joints_mm), 50.0)
    thickness_mm[[HUMAN36M.names.index(name) for name in ("Hip", "Spine", "Thorax", "Neck/Nose", "Head")]] = 110.0
    hip_mm, lowest_mm = laid.joints_mm[0], float((laid.joints_mm[:, 2] - thickness_mm).min())
    return laid.moved(np.eye(3), -np.array([hip_mm[0], hip_mm[1], lowest_mm]))


def bend_limb(start: Array, end: Array, pole: Array, upper_mm: float, lower_mm: float) -> tuple[Array, Array]:
    """Middle joint and end of a limb of two bones from `start` towards `end`, bent towards `pole`.

    The end is moved along the line to `start` where the limb could not reach it, or would fold flat.
    """
    reach = end - start
    distance = math.sqrt(reach @ reach)
    along = reach / max(distance, 1e-6)
    distance = min(max(distance, 0.3 * (upper_mm + lower_mm)), 0.998 * (upper_mm + lower_mm))
    foot = (upper_mm**2 - lower_mm**2 + distance**2) / (2 * distance)
    height = math.sqrt(max(upper_mm**2 - foot**2, 0.0))
    return start + along * foot + _perpendicular(pole, along) * height, start + along * distance


def _hip_height_mm(body: Body, pose: Pose) -> float:
    if pose.hip_height is not None:
        return pose.hip_height * body.leg_mm
    x, y, z = pose.ankles.T
    return float((np.sqrt(np.maximum(pose.stretch**2 - x**2 - y**2, 0.1)) + z).min()) * body.leg_mm


def _leg(body: Body, pose: Pose, side: int, hip: Array, pelvis_axes: Array) -> tuple[Array, Array, Array]:
    """Hip joint, knee and ankle."""
    outwards = np.array([1.0, SIDES[side], 1.0])
    start = hip + pelvis_axes[:, 1] * (SIDES[side] * body.hip_mm)
    end = np.array([start[0], start[1], 0.0]) + pose.ankles[side] * outwards * body.leg_mm
    return start, *bend_limb(start, end, pose.knee_poles[side] * outwards, body.thigh_mm, body.shank_mm)


def _arm(body: Body, pose: Pose, side: int, thorax: Array, chest_axes: Array) -> tuple[Array, Array, Array]:
    """Shoulder, elbow and wrist. The shoulder rises with the hand, and the hand stays above the floor."""
    outwards = np.array([1.0, SIDES[side], 1.0])
    wrist = pose.wrists[side]
    drop = 0.25 - 0.25 * float(wrist[2])
    start = thorax + chest_axes @ (_direction(0.15 * float(wrist[0]), 1, -drop) * outwards) * body.clavicle_mm
    end = start + chest_axes @ (wrist * outwards) * body.arm_mm
    end[2] = max(end[2], 45.0)
    pole = chest_axes @ (pose.elbow_poles[side] * outwards)
    return start, *bend_limb(start, end, pole, body.upper_arm_mm, body.forearm_mm)


def _direction(x: float, y: float, z: float) -> Array:
    return np.array([x, y, z]) / math.sqrt(x * x + y * y + z * z)


def _perpendicular(vector: Array, axis: Array) -> Array:
    """The unit vector nearest to `vector` at right angles to `axis`."""
    across = vector - axis * ((vector @ axis) / (axis @ axis))
    length = math.sqrt(across @ across)
    if length < 1e-6:  # the vector lies on the axis: any direction across it will do
        return _perpendicular(vector + np.array([1e-3, 2e-3, 3e-3]), axis)
    return across / length
