"""The surface of a posed body as solids: trunk, head and limbs, and what clothes and hair they carry.

Nothing tells left from right, unless clothes have marks. Those are the same on everybody: the left sleeve and trouser
leg are lighter and carry a white band, the right ones a black band; the left shoe is white, the right one black.
"""

from typing import NamedTuple

import numpy as np

from integral_pose.contracts import Array
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.body_model import LEFT, RIGHT, Body, PosedBody
from integral_pose.synthetic.ray_casting import Colour, Paint, Solid, axes_along, ball, ellipsoid, plain, tapered

MARKS: tuple[Colour, Colour] = ((245, 245, 240), (18, 18, 20))  # bands and shoes, left and right
DARK: Colour = (28, 24, 24)
MOUTH: Colour = (150, 60, 60)
LIGHTER = 0.45  # share of white in the cloth of the left side


class Clothes(NamedTuple):
    """What somebody wears in one sequence."""

    shirt: Colour
    print: Colour  # on the front of the shirt
    trousers: Colour
    hair: Colour
    sleeve: float  # share of the arm that is covered, 0.3 (short) .. 1
    trouser_leg: float  # share of the leg, 0.4 (shorts) .. 1
    shoes: Colour | None  # None: marks that tell left from right


def draw_clothes(rng: np.random.Generator, has_marks: bool = False) -> Clothes:
    """Clothes of any colour; the print stands out from the shirt."""
    shirt, trousers = _cloth(rng), _cloth(rng)
    bright = sum(shirt) > 330
    front = tuple((rng.uniform(0, 90, 3) if bright else rng.uniform(170, 250, 3)).tolist())
    hair = ((30, 24, 20), (70, 46, 30), (120, 86, 50), (44, 40, 40), (190, 160, 100))[int(rng.integers(5))]
    sleeve = float(rng.choice([0.32, 0.4, 0.97]))
    trouser_leg = float(rng.choice([0.45, 0.55, 0.95, 0.95]))
    shoes = None if has_marks else tuple((rng.uniform(15, 235) + rng.uniform(-15, 15, 3)).tolist())
    return Clothes(shirt, front, trousers, hair, sleeve, trouser_leg, shoes)


def body_solids(posed: PosedBody, body: Body, clothes: Clothes) -> list[Solid]:
    """The solids of a dressed body, in the axes of `posed`."""
    joints = dict(zip(HUMAN36M.names, posed.joints_mm, strict=True))
    solids = [*_trunk(joints, posed, body, clothes), *_head(joints, posed, body, clothes)]
    for side in (LEFT, RIGHT):
        solids += _arm(joints, side, body, clothes)
        solids += _leg(joints, posed.toes[side], side, body, clothes)
    return solids


def stool_solids(hip_mm: Array, hip_floor_mm: Array, colour: Colour) -> list[Solid]:
    """A round stool under the hip, in the axes of its arguments."""
    up = hip_mm - hip_floor_mm
    up = up / np.sqrt(up @ up)
    top = hip_mm - 120 * up
    dark = plain(tuple(0.6 * c for c in colour))
    return [
        ellipsoid(top, axes_along(up), (200, 200, 45), plain(colour)),
        tapered(hip_floor_mm, top, 45, 45, dark),
        ellipsoid(hip_floor_mm, axes_along(up), (190, 190, 30), dark),
    ]


def _cloth(rng: np.random.Generator) -> Colour:
    base, tint = rng.uniform(40, 190), rng.uniform(-70, 70, 3)
    return tuple(np.clip(base + tint, 20, 215).tolist())


def _marked(colour: Colour, side: int) -> Colour:
    """Cloth that tells the side: lighter on the left."""
    return colour if side == RIGHT else tuple((1 - LIGHTER) * c + LIGHTER * 255 for c in colour)


def _trunk(joints: dict[str, Array], posed: PosedBody, body: Body, clothes: Clothes) -> list[Solid]:
    hip, spine, thorax = joints["Hip"], joints["Spine"], joints["Thorax"]
    pelvis, chest = posed.pelvis_axes, posed.chest_axes
    thick = body.girth
    shirt, half_hip, half_chest = plain(clothes.shirt), 1.22 * body.hip_mm, 1.12 * body.clavicle_mm
    chest_mid = thorax - chest[:, 2] * 150
    belly = spine + 0.15 * (hip - spine)
    forward = pelvis[:, 0] + chest[:, 0]
    return [
        ellipsoid(hip + pelvis[:, 2] * 20, pelvis.T, (105 * thick, half_hip, 120), plain(clothes.trousers)),
        tapered(hip + pelvis[:, 2] * 60, belly, 100 * thick, 98 * thick, shirt, forward=forward, width=1.32),
        ellipsoid(belly, chest.T, (100 * thick, 132 * thick, 120), shirt),
        ellipsoid(chest_mid, chest.T, (112 * thick, half_chest, 175), shirt),
        ellipsoid(chest_mid + chest[:, 0] * (84 * thick), chest.T, (34, 70, 80), plain(clothes.print)),
        *(
            tapered(thorax - chest[:, 2] * 35, joints[f"{letter}Shoulder"], 62 * thick, 56 * thick, shirt)
            for letter in "LR"
        ),
    ]


def _head(joints: dict[str, Array], posed: PosedBody, body: Body, clothes: Clothes) -> list[Solid]:
    axes, thorax = posed.head_axes, joints["Thorax"]
    forward, left, up = axes.T
    middle = thorax + forward * 18 + up * (0.87 * body.neck_mm + 15)
    skin, dark = plain(body.skin), plain(DARK)
    nose: Colour = (body.skin[0] * 0.85, body.skin[1] * 0.8, body.skin[2] * 0.78)
    face = middle + forward * 78
    return [
        tapered(thorax - up * 40, middle - up * 30, 58 * body.girth, 52, skin),
        ellipsoid(middle, axes.T, (95, 74, 112), skin),
        ellipsoid(middle - forward * 24 + up * 24, axes.T, (88, 82, 102), plain(clothes.hair)),
        ball(face - up * 4 + left * 30, 14, dark),
        ball(face - up * 4 - left * 30, 14, dark),
        ellipsoid(face + forward * 20 - up * 30, axes.T, (20, 12, 20), plain(nose)),
        ellipsoid(face - up * 58 - forward * 3, axes.T, (16, 28, 9), plain(MOUTH)),
    ]


def _arm(joints: dict[str, Array], side: int, body: Body, clothes: Clothes) -> list[Solid]:
    shoulder, elbow, wrist = (joints["LR"[side] + part] for part in ("Shoulder", "Elbow", "Wrist"))
    cloth, band = (clothes.shirt, None) if clothes.shoes else (_marked(clothes.shirt, side), MARKS[side])
    thick = body.girth
    covered_mm = clothes.sleeve * body.arm_mm
    upper = _cloth_then_skin(cloth, body.skin, covered_mm, band, band_mm=0.3 * body.upper_arm_mm)
    lower = _cloth_then_skin(cloth, body.skin, covered_mm - body.upper_arm_mm, band, band_mm=0.55 * body.forearm_mm)
    joint = cloth if covered_mm > body.upper_arm_mm else body.skin
    hand = wrist + (wrist - elbow) * (70 / body.forearm_mm)
    return [
        ball(shoulder, 60 * thick, plain(cloth)),
        tapered(shoulder, elbow, 54 * thick, 43 * thick, upper),
        ball(elbow, 43 * thick, plain(joint)),
        tapered(elbow, wrist, 42 * thick, 31 * thick, lower),
        ellipsoid(wrist + 0.4 * (hand - wrist), axes_along(hand - wrist), (28, 38, 72), plain(body.skin)),
    ]


def _leg(joints: dict[str, Array], toes: Array, side: int, body: Body, clothes: Clothes) -> list[Solid]:
    hip, knee, ankle = (joints["LR"[side] + part] for part in ("Hip", "Knee", "Foot"))
    cloth, band = (clothes.trousers, None) if clothes.shoes else (_marked(clothes.trousers, side), MARKS[side])
    shoe, thick = plain(clothes.shoes or MARKS[side]), body.girth
    covered_mm = clothes.trouser_leg * body.leg_mm
    upper = _cloth_then_skin(cloth, body.skin, covered_mm, band, band_mm=0.55 * body.thigh_mm)
    lower = _cloth_then_skin(cloth, body.skin, covered_mm - body.thigh_mm, band, band_mm=0.45 * body.shank_mm)
    joint = cloth if covered_mm > body.thigh_mm else body.skin
    down = (ankle - knee) / body.shank_mm
    sole = ankle + down * 35
    return [
        ball(hip, 92 * thick, plain(cloth)),
        tapered(hip, knee, 90 * thick, 60 * thick, upper),
        ball(knee, 61 * thick, plain(joint)),
        tapered(knee, ankle, 58 * thick, 40 * thick, lower),
        ball(ankle, 44 * thick, shoe),
        ellipsoid(sole + toes * 75, axes_along(toes, near=down), (42, 46, 135), shoe),
    ]


def _cloth_then_skin(cloth: Colour, skin: Colour, covered_mm: float, band: Colour | None, band_mm: float) -> Paint:
    """Cloth, with a band of that colour where it covers that place, and skin below the hem."""
    if band and covered_mm > band_mm + 25:
        return Paint((cloth, band, cloth, skin), (band_mm - 30, band_mm + 30, covered_mm))
    return Paint((cloth, skin, skin, skin), (max(covered_mm, 0.0), 1e9, 1e9))
