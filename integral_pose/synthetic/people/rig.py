"""17 joints -> rotations of the rig's bones within the limits of real joints -> labels and posed vertices.

Directions of the limbs are those asked for; lengths are the body's own. Elbows and knees bend one way, spine and neck
turn so far, and feet lie flat where they stand. Rotations are from the body at rest to the axes of the pose.
"""

import math
from typing import NamedTuple

import numpy as np

from integral_pose.contracts import Array
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.people.body_data import BodyData
from integral_pose.synthetic.people.joint_centres import centre_bones, rest_joints
from integral_pose.synthetic.people.rotations import (
    across,
    axis_and_angle,
    between,
    cross,
    frame,
    shortest,
    turn_about,
    unit,
)
from integral_pose.synthetic.people.shapes import RestBody
from integral_pose.synthetic.ray_casting import Array32

AT = {name: row for row, name in enumerate(HUMAN36M.names)}
SPINE = {"spine05": 0.12, "spine04": 0.35, "spine03": 0.6, "spine02": 0.85, "spine01": 1.0}  # share of the trunk's bend
NECK = {"neck01": 0.25, "neck02": 0.5, "neck03": 0.75, "head": 1.0}
MOST_TRUNK, MOST_NECK, MOST_CLAVICLE, MOST_ANKLE = 1.9, 1.3, 0.6, 0.75  # radians
TRUNK, TRUNK_ROUNDS = [AT[name] for name in ("Spine", "Thorax", "Neck/Nose", "Head")], 3
_TREE = sorted(HUMAN36M.bones)  # parents come first
STRAIGHT = 0.12, 0.4  # sines of the bend between which the joints begin to say which way a limb bends
STANDS_MM = 130.0  # ankles lower than this over the lowest one stand on the floor


class PosedRig(NamedTuple):
    """Joints, and the rotation and place of every bone; body, world or camera axes."""

    joints_mm: Array  # (17, 3)
    rotations: Array  # (B, 3, 3)
    heads_mm: Array  # (B, 3)

    def moved(self, rotation: Array, shift_mm: Array) -> "PosedRig":
        """The same body in other axes: x -> rotation x + shift."""
        return PosedRig(
            self.joints_mm @ rotation.T + shift_mm, rotation @ self.rotations, self.heads_mm @ rotation.T + shift_mm
        )


class Hands(NamedTuple):
    """What 17 joints do not say; left and right."""

    pronation: tuple[float, float] = (0.0, 0.0)  # radians
    flexion: tuple[float, float] = (0.0, 0.0)
    curl: tuple[float, float] = (0.4, 0.4)  # of the fingers, a knuckle

    def mirrored(self) -> "Hands":
        """Left is right."""
        return Hands(*(pair[::-1] for pair in self))


def fit_rig(data: BodyData, body: RestBody, joints_mm: Array, hands: Hands, up: Array) -> PosedRig:
    """The body in the pose of 17 joints (17, 3) of whatever size, in their axes; `up` is a unit vector there."""
    rest = rest_joints(data, body)
    wanted = with_lengths_of(rest, joints_mm)
    turned = _trunk(data, body, rest, wanted)
    ankles = np.array([wanted[AT[f"{side}Foot"]] @ up for side in "LR"])
    for number, side in enumerate("LR"):
        _bend_arm(turned, data, body, rest, wanted, side, hands, number)
        stands = bool(ankles[number] < ankles.min() + STANDS_MM and ankles[number] < wanted[0] @ up - 100)
        _bend_leg(turned, rest, wanted, side, stands, up)
    return _placed(data, body, rest, turned).moved(np.eye(3), joints_mm[0])


def with_lengths_of(rest: Array, joints_mm: Array) -> Array:
    """(17, 3) with the directions of one pose and the lengths of bones of another, the hip at the origin."""
    wanted = np.zeros_like(joints_mm)
    for child, parent in _TREE:
        bone = joints_mm[child] - joints_mm[parent]
        length_mm = rest[child] - rest[parent]
        wanted[child] = wanted[parent] + bone * math.sqrt(length_mm @ length_mm / max(bone @ bone, 1e-6))
    return wanted


def _placed(data: BodyData, body: RestBody, rest: Array, turned: dict[str, Array]) -> PosedRig:
    """The bones joined to each other, the hip at the origin; those that are not named stay out of it."""
    bones = [data.rows[name] for name in turned]  # parents first
    rotations, heads = np.tile(np.eye(3), (len(data.bones), 1, 1)), np.zeros_like(body.heads_mm)
    for bone, name in sorted(zip(bones, turned, strict=True)):
        rotations[bone] = turned[name]
        if (parent := data.parents[bone]) >= 0:
            heads[bone] = heads[parent] + rotations[parent] @ (body.heads_mm[bone] - body.heads_mm[parent])
    movers = centre_bones(data)
    joints = np.einsum("jkl,jl->jk", rotations[movers], rest - body.heads_mm[movers]) + heads[movers]
    joints[0] = joints[[AT["LHip"], AT["RHip"]]].mean(axis=0)
    return PosedRig(joints - joints[0], rotations, heads - joints[0])


def fit_error_mm(data: BodyData, body: RestBody, posed: PosedRig, joints_mm: Array) -> Array:
    """(17,) how far the joints are from a pose of the same directions and the body's own lengths, hips together."""
    wanted = with_lengths_of(rest_joints(data, body), joints_mm)
    error: Array = np.linalg.norm(posed.joints_mm - posed.joints_mm[0] - wanted, axis=1)
    return error


def skin(body_points_mm: Array32, weights: Array32, body: RestBody, posed: PosedRig) -> Array32:
    """(V, 3) points of the body at rest, moved by the bones with `weights` (V, B)."""
    shift = posed.heads_mm - np.einsum("bij,bj->bi", posed.rotations, body.heads_mm)
    motion = np.concatenate([posed.rotations, shift[:, :, None]], axis=2).reshape(-1, 12).astype(np.float32)
    each = (weights @ motion).reshape(-1, 3, 4)
    x, y, z = (each[:, :, axis] * body_points_mm[:, None, axis] for axis in range(3))
    moved: Array32 = x + y + z + each[:, :, 3]
    return moved


# --- trunk -------------------------------------------------------------------------------------------------


def _trunk(data: BodyData, body: RestBody, rest: Array, wanted: Array) -> dict[str, Array]:
    """Rotations of the bones from the pelvis to the head.

    The joints of the trunk lie between its bones, so that it bends more smoothly than they do: what is missed is added
    to what is aimed at, a few times.
    """
    aim = wanted.copy()
    for _ in range(TRUNK_ROUNDS):
        turned = _trunk_towards(rest, aim)
        reached = _placed(data, body, rest, turned).joints_mm
        aim[TRUNK] += wanted[TRUNK] - reached[TRUNK]
    return _trunk_towards(rest, aim)


def _trunk_towards(rest: Array, aim: Array) -> dict[str, Array]:
    pelvis, chest, head = (of(aim) @ of(rest).T for of in (_pelvis_frame, _chest_frame, _head_frame))
    chest = between(pelvis, chest, 1.0, MOST_TRUNK)
    head = between(chest, head, 1.0, MOST_NECK)
    turned = {"root": pelvis} | {name: between(pelvis, chest, share) for name, share in SPINE.items()}
    return turned | {name: between(chest, head, share) for name, share in NECK.items()}


def _pelvis_frame(joints_mm: Array) -> Array:
    return frame(joints_mm[AT["LHip"]] - joints_mm[AT["RHip"]], joints_mm[AT["Spine"]] - joints_mm[AT["Hip"]])


def _chest_frame(joints_mm: Array) -> Array:
    up = unit(joints_mm[AT["Thorax"]] - joints_mm[AT["Spine"]])
    return frame(up, joints_mm[AT["LShoulder"]] - joints_mm[AT["RShoulder"]])


def _head_frame(joints_mm: Array) -> Array:
    thorax, nose, head = (joints_mm[AT[name]] for name in ("Thorax", "Neck/Nose", "Head"))
    forward = across(nose - (thorax + head) / 2, unit(head - thorax))
    if forward @ forward < 1.0:  # all three on a line, within a millimetre: as the chest does
        forward = cross(joints_mm[AT["LShoulder"]] - joints_mm[AT["RShoulder"]], head - thorax)
    return frame(head - thorax, forward)


# --- limbs -------------------------------------------------------------------------------------------------


def _bend_arm(
    turned: dict[str, Array], data: BodyData, body: RestBody, rest: Array, joints_mm: Array, side: str, hands: Hands,
    number: int,
) -> None:  # fmt: skip
    """Rotations of collar bone, arm, hand and fingers."""
    chest = turned["spine01"]
    thorax, shoulder, elbow, wrist = (AT["Thorax"], AT[f"{side}Shoulder"], AT[f"{side}Elbow"], AT[f"{side}Wrist"])
    raised = shortest(chest @ (rest[shoulder] - rest[thorax]), joints_mm[shoulder] - joints_mm[thorax]) @ chest
    collar = between(chest, raised, 0.8, MOST_CLAVICLE)
    turned[f"clavicle.{side}"] = turned[f"shoulder01.{side}"] = collar
    hinge = unit(cross(rest[elbow] - rest[shoulder], rest[wrist] - rest[elbow]))
    swung, upper, lower = _bend(rest[[shoulder, elbow, wrist]], joints_mm[[shoulder, elbow, wrist]], hinge, collar)
    turned[f"upperarm01.{side}"] = between(swung, upper, 0.5)
    turned[f"upperarm02.{side}"] = upper
    along = unit(lower @ (rest[wrist] - rest[elbow]))
    sign = 1.0 if side == "L" else -1.0
    turned[f"lowerarm01.{side}"] = lower
    turned[f"lowerarm02.{side}"] = turn_about(along, 0.5 * sign * hands.pronation[number]) @ lower
    hand = turn_about(along, sign * hands.pronation[number]) @ lower
    axis = _finger_hinge(data, body, side)
    hand = hand @ turn_about(axis, hands.flexion[number])
    turned[f"wrist.{side}"] = hand
    _curl_fingers(turned, hand, axis, side, hands.curl[number])


def _finger_hinge(data: BodyData, body: RestBody, side: str) -> Array:
    """About which the fingers of the hand at rest bend towards the palm, on whose side the thumb lies."""
    knuckle, middle, little, index, thumb = (
        body.heads_mm[data.bones.index(f"finger{name}.{side}")] for name in ("3-1", "3-2", "5-1", "2-1", "1-3")
    )
    along = unit(middle - knuckle)
    hinge = unit(across(little - index, along))
    return hinge if cross(hinge, along) @ (thumb - index) > 0 else -hinge


def _curl_fingers(turned: dict[str, Array], hand: Array, axis: Array, side: str, curl: float) -> None:
    for knuckle in (1, 2, 3):
        for finger in (2, 3, 4, 5):
            turned[f"finger{finger}-{knuckle}.{side}"] = hand @ turn_about(axis, curl * knuckle)
        turned[f"finger1-{knuckle}.{side}"] = hand @ turn_about(axis, 0.25 * curl * (knuckle - 1))


def _bend_leg(
    turned: dict[str, Array], rest: Array, joints_mm: Array, side: str, stands: bool, up: Array
) -> None:  # fmt: skip
    rows = [AT[f"{side}{part}"] for part in ("Hip", "Knee", "Foot")]
    swung, upper, lower = _bend(rest[rows], joints_mm[rows], np.array([0.0, 1, 0]), turned["root"])
    turned[f"upperleg01.{side}"] = between(swung, upper, 0.5)
    turned[f"upperleg02.{side}"] = upper
    turned[f"lowerleg01.{side}"] = turned[f"lowerleg02.{side}"] = lower
    forward = across(lower[:, 0], up)
    if stands and forward @ forward > 0.05:
        flat = np.stack([unit(forward), cross(up, unit(forward)), up], axis=1)
        turned[f"foot.{side}"] = between(lower, flat, 1.0, MOST_ANKLE)
    else:
        turned[f"foot.{side}"] = lower @ turn_about(np.array([0.0, 1, 0]), 0.3)


def _bend(rest: Array, joints_mm: Array, hinge: Array, carrier: Array) -> tuple[Array, Array, Array]:
    """Rotations of a limb of two bones: the upper one swung from `carrier` without a twist, the upper, the lower.

    rest and joints_mm (3, 3) are its three joints. A limb that is nearly straight, or bends the wrong way by little,
    turns about where the carrier has the hinge.
    """
    upper, lower = rest[1] - rest[0], rest[2] - rest[1]
    to_upper, to_lower = unit(joints_mm[1] - joints_mm[0]), unit(joints_mm[2] - joints_mm[1])
    swung = shortest(carrier @ upper, to_upper) @ carrier
    usual = unit(across(swung @ hinge, to_upper))
    bend = cross(to_upper, to_lower)
    sine = math.sqrt(bend @ bend)
    says = min(1.0, max(0.0, (sine - STRAIGHT[0]) / (STRAIGHT[1] - STRAIGHT[0]))) if to_upper @ to_lower > 0 else 1.0
    if bend @ usual < 0 and to_upper @ to_lower > 0.9:
        says = 0.0
    axis = usual if says == 0 or sine < 1e-6 else unit(says * bend / sine + (1 - says) * usual)
    both = [frame(to, axis) @ frame(of, hinge).T for to, of in ((to_upper, upper), (to_lower, lower))]
    return swung, both[0], both[1]


def bend_angle(posed: PosedRig, first: int, second: int) -> float:
    """Angle between two bones, radians."""
    return axis_and_angle(posed.rotations[first].T @ posed.rotations[second])[1]
