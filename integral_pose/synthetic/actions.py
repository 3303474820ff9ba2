"""The fifteen actions of Human3.6M as families of poses: each draws a `Pose` from its own distribution.

Every action is a stance (legs and trunk) and a gesture for each arm; noise is added to all of it at the end.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from integral_pose.synthetic.body_model import LEFT, RIGHT, Pose
from integral_pose.synthetic.pose_parts import (
    Gesture,
    Random,
    Stance,
    arms_crossed,
    behind_back,
    behind_head,
    bend_over,
    dangle,
    hand_at_ear,
    hand_at_mouth,
    hang,
    hold_camera,
    lie,
    on_chest,
    on_elbow,
    on_hip,
    on_lap,
    point,
    reach_down,
    recline,
    sit,
    sit_on_floor,
    spread,
    squat,
    stand,
    talk,
    walk,
    wave,
)

PoseParts = tuple[Stance, Gesture, Gesture, float]  # stance, left arm, right arm, lean of the head
DrawStance = Callable[[Random], Stance]
DrawGesture = Callable[[Random], Gesture]
DrawParts = Callable[[Random], PoseParts]
Drawn = TypeVar("Drawn")


def draw_pose(
    action: str, rng: Random, looseness: float = 1.0, wide_share: float = 0.0, reclining_share: float = 0.0
) -> Pose:
    """A pose of `action`, one of the keys of `ACTIONS`; `looseness` multiplies how far it strays from its family.

    With a `wide_share` of poses that are of no action, left and right are exchanged in half of all; of these wide ones
    `reclining_share` recline.
    """
    if wide_share == 0:
        return _assemble(*ACTIONS[action](rng), rng, looseness)
    if rng.random() >= wide_share:  # where nobody reclines no number is drawn for it: older sets keep their bytes
        parts = ACTIONS[action](rng)
    elif reclining_share and rng.random() < reclining_share:
        parts = draw_reclining_parts(rng)
    else:
        parts = draw_wide_parts(rng)
    pose = _assemble(*parts, rng, looseness)
    return pose.mirrored() if rng.random() < 0.5 else pose


def draw_wide_parts(rng: Random) -> PoseParts:
    """What no action holds: half of them lie, a quarter each bends over or crosses arms."""
    kind = rng.random()
    if kind < 0.5:
        left, right = (LYING_GESTURES[int(i)](rng) for i in rng.integers(len(LYING_GESTURES), size=2))
        return lie(rng), left, right, rng.uniform(0.0, 0.5)
    if kind < 0.75:
        bent = stand(rng)._replace(trunk_lean=rng.uniform(0.9, 1.9), pelvis_lean=rng.uniform(0.0, 0.5))
        return bent, dangle(rng), dangle(rng), rng.uniform(0.0, 0.4)
    stance = sit(rng) if rng.random() < 0.3 else stand(rng)
    return stance, arms_crossed(rng), arms_crossed(rng), 0.05


def draw_reclining_parts(rng: Random) -> PoseParts:
    """Leaning back on the elbows, or on one, or on the hands; the legs on the floor or raised."""
    stance = recline(rng)
    back = -(stance.pelvis_lean + stance.trunk_lean)
    props = on_elbow(back) if back > ELBOWS_REACH else behind_back
    free = one_of(on_chest, on_lap, talk, behind_head, hold_camera)
    left, right = (props(rng) if rng.random() < 0.8 else free(rng) for _ in range(2))
    return stance, left, right, 0.35


def _assemble(stance: Stance, left: Gesture, right: Gesture, head_lean: float, rng: Random, looseness: float) -> Pose:
    """The parts with noise on all of them."""
    lean = stance.trunk_lean  # shared by pelvis, spine and chest; the head looks up again
    pelvis = rng.normal((0, stance.pelvis_lean + 0.2 * lean, 0), looseness * np.array((0.10, 0.06, 0.05)))
    spine = rng.normal((0, 0.45 * lean, 0), looseness * np.array((0.10, 0.05, 0.06)))
    chest = rng.normal((0, 0.35 * lean, 0), looseness * np.array((0.12, 0.06, 0.06)))
    head = rng.normal((0, head_lean - 0.25 * lean, 0), (0.35, 0.14, 0.08))
    return Pose(
        ankles=np.array(stance.ankles),
        knee_poles=np.array(stance.knee_poles) + rng.normal(0, 0.08 * looseness, (2, 3)),
        wrists=np.array([left.wrist, right.wrist]) + rng.normal(0, 0.05 * looseness, (2, 3)),
        elbow_poles=np.array([left.pole, right.pole]) + rng.normal(0, 0.2 * looseness, (2, 3)),
        pelvis=pelvis,
        spine=spine,
        chest=chest,
        head=np.clip(head, (-1.1, -0.5, -0.3), (1.1, 0.7, 0.3)),
        hip_height=stance.hip_height,
        stretch=float(rng.uniform(0.965, 0.997)),
        seat=stance.seat,
        lying=stance.lying,
    )


def one_of(*draws: Callable[[Random], Drawn]) -> Callable[[Random], Drawn]:
    """Each as likely as the others; what is named twice comes twice as often."""
    return lambda rng: draws[int(rng.integers(len(draws)))](rng)


def in_share(
    share: float, draw: Callable[[Random], Drawn], other: Callable[[Random], Drawn]
) -> Callable[[Random], Drawn]:
    """The first in that share of the pictures."""
    return lambda rng: (draw if rng.random() < share else other)(rng)


def with_arms(stance: DrawStance, left: DrawGesture, right: DrawGesture, head_lean: float = 0.0) -> DrawParts:
    """A stance and a gesture for each arm."""
    return lambda rng: (stance(rng), left(rng), right(rng), head_lean)


def with_busy_hand(stance: DrawStance, busy: DrawGesture, other: DrawGesture, head_lean: float = 0.0) -> DrawParts:
    """A stance, and a gesture for the hand that does something and for the other."""
    return lambda rng: (stance(rng), *_either_hand(rng, busy(rng), other(rng)), head_lean)


def sitting_or_standing(seated: float, family: Callable[[DrawStance, DrawGesture], DrawParts]) -> DrawParts:
    """On a stool in the share `seated`; `family` is given the stance and how an idle arm rests in it."""
    return in_share(seated, family(sit, on_lap), family(stand, one_of(hang, hang, on_hip)))


def _either_hand(rng: Random, busy: Gesture, other: Gesture) -> tuple[Gesture, Gesture]:
    """The busy hand is the right one in three of five pictures."""
    return (other, busy) if rng.random() < 0.6 else (busy, other)


def posing(rng: Random) -> PoseParts:
    """Standing as for a portrait."""
    arm = one_of(on_hip, behind_head, spread, hang, on_chest, wave)
    left = arm(rng)
    right = left if rng.random() < 0.4 else arm(rng)
    return stand(rng), left, right, 0.0


def sitting_down(rng: Random) -> PoseParts:
    """On the floor, or on the way down to it."""
    stance = in_share(0.2, squat, sit_on_floor)(rng)
    leans_back = stance.pelvis_lean < -0.1
    arm = one_of(behind_back, behind_back, on_lap) if leans_back else one_of(on_lap, reach_down, talk)
    return stance, arm(rng), arm(rng), 0.25 if leans_back else 0.1


def waiting(stance: DrawStance, rest: DrawGesture) -> DrawParts:
    """Standing or sitting about."""
    arm = one_of(rest, on_chest, hand_at_mouth)
    return with_arms(stance, arm, arm, 0.1)


def walking(rng: Random) -> PoseParts:
    """Arms swing against the legs."""
    stance, left_ahead = walk(rng)
    swing = -0.35 * left_ahead * rng.uniform(0.5, 1.3)
    arms = [Gesture((s + 0.08, rng.uniform(0.05, 0.2), -0.93 + 0.3 * abs(s))) for s in (swing, -swing)]
    return stance, arms[LEFT], arms[RIGHT], 0.05


def walking_dog(rng: Random) -> PoseParts:
    """Walking, one arm drawn forwards by the lead."""
    stance, left, right, _ = walking(rng)
    lead = Gesture((rng.uniform(0.4, 0.85), rng.uniform(-0.1, 0.35), -rng.uniform(0.2, 0.6)))
    return stance, *_either_hand(rng, lead, (left, right)[int(rng.integers(2))]), 0.2


def walking_together(rng: Random) -> PoseParts:
    """Walking, at times with a hand towards the other."""
    stance, left, right, _ = walking(rng)
    if rng.random() < 0.5:
        return stance, left, right, 0.0
    return stance, *_either_hand(rng, one_of(talk, spread)(rng), left), 0.0


ELBOWS_REACH = 0.85  # radians: from this lean on, elbows reach the floor
LYING_GESTURES = (hang, on_chest, talk, behind_head, hold_camera, point, spread, wave)
NEAR_MOUTH = one_of(hand_at_mouth, hand_at_mouth, talk)
ON_STOOL = one_of(on_lap, on_lap, on_chest, talk)

ACTIONS: dict[str, DrawParts] = {
    "Directions": with_busy_hand(stand, point, one_of(hang, point, talk)),  # showing the way
    "Discussion": with_busy_hand(stand, talk, one_of(talk, talk, hang, on_hip, point)),  # with the hands
    # Mostly at a table.
    "Eating": with_busy_hand(in_share(0.75, sit, stand), NEAR_MOUTH, one_of(talk, on_lap), 0.15),
    "Greeting": with_busy_hand(stand, one_of(wave, wave, point), one_of(hang, wave, hang)),
    "Phoning": sitting_or_standing(
        0.4, lambda stance, rest: with_busy_hand(stance, hand_at_ear, one_of(talk, rest), 0.05)
    ),
    "Photo": with_arms(in_share(0.25, squat, stand), hold_camera, hold_camera),
    "Posing": posing,
    # Taking things from low places and carrying them.
    "Purchases": with_arms(one_of(bend_over, squat, stand), reach_down, one_of(reach_down, talk, hang), 0.2),
    "Sitting": with_arms(sit, ON_STOOL, ON_STOOL),
    "SittingDown": sitting_down,
    "Smoking": sitting_or_standing(
        0.4, lambda stance, rest: with_busy_hand(stance, NEAR_MOUTH, one_of(on_chest, rest))
    ),
    "Waiting": sitting_or_standing(0.3, waiting),
    "WalkDog": walking_dog,
    "Walking": walking,
    "WalkTogether": walking_together,
}
