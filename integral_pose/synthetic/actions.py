"""The fifteen actions of Human3.6M as families of poses: each draws a `Pose` from its own distribution.

Every action is a stance (legs and trunk) and a gesture for each arm; noise is added to all of it at the end.
"""

from collections.abc import Callable

import numpy as np

from integral_pose.synthetic.body_model import LEFT, RIGHT, Pose
from integral_pose.synthetic.pose_parts import (
    Gesture,
    Stance,
    behind_back,
    behind_head,
    bend_over,
    hand_at_ear,
    hand_at_mouth,
    hang,
    hold_camera,
    on_chest,
    on_hip,
    on_lap,
    point,
    reach_down,
    sit,
    sit_on_floor,
    spread,
    squat,
    stand,
    talk,
    walk,
    wave,
)
from integral_pose.synthetic.wide_poses import draw_wide_parts

Random = np.random.Generator
PoseParts = tuple[Stance, Gesture, Gesture, float]  # stance, left arm, right arm, lean of the head
DrawGesture = Callable[[Random], Gesture]


def draw_pose(action: str, rng: Random, looseness: float = 1.0, wide_share: float = 0.0) -> Pose:
    """A pose of `action`, one of the keys of `ACTIONS`; `looseness` multiplies how far it strays from its family.

    With a `wide_share` of poses that are of no action, left and right are exchanged in half of all.
    """
    if wide_share == 0:
        return _assemble(*ACTIONS[action](rng), rng, looseness)
    parts = draw_wide_parts(rng) if rng.random() < wide_share else ACTIONS[action](rng)
    pose = _assemble(*parts, rng, looseness)
    return pose.mirrored() if rng.random() < 0.5 else pose


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


def _one_of(rng: Random, *families: DrawGesture) -> Gesture:
    return families[int(rng.integers(len(families)))](rng)


def _either_hand(rng: Random, busy: Gesture, other: Gesture) -> tuple[Gesture, Gesture]:
    """The busy hand is the right one in three of five pictures."""
    return (other, busy) if rng.random() < 0.6 else (busy, other)


def _seat_or_stand(rng: Random, seated: float) -> Stance:
    return sit(rng) if rng.random() < seated else stand(rng)


def _rest(rng: Random, stance: Stance) -> Gesture:
    return on_lap(rng) if stance.seat == "stool" else _one_of(rng, hang, hang, on_hip)


def directions(rng: Random) -> PoseParts:
    """Showing the way."""
    return stand(rng), *_either_hand(rng, point(rng), _one_of(rng, hang, point, talk)), 0.0


def discussion(rng: Random) -> PoseParts:
    """Talking with the hands."""
    return stand(rng), *_either_hand(rng, talk(rng), _one_of(rng, talk, talk, hang, on_hip, point)), 0.0


def eating(rng: Random) -> PoseParts:
    """Mostly at a table: one hand at the mouth."""
    stance = _seat_or_stand(rng, 0.75)
    return (
        stance,
        *_either_hand(rng, _one_of(rng, hand_at_mouth, hand_at_mouth, talk), _one_of(rng, talk, on_lap)),
        0.15,
    )


def greeting(rng: Random) -> PoseParts:
    """Waving or stretching out a hand."""
    return stand(rng), *_either_hand(rng, _one_of(rng, wave, wave, point), _one_of(rng, hang, wave, hang)), 0.0


def phoning(rng: Random) -> PoseParts:
    """One hand at the ear."""
    stance = _seat_or_stand(rng, 0.4)
    return stance, *_either_hand(rng, hand_at_ear(rng), _one_of(rng, talk, lambda r: _rest(r, stance))), 0.05


def photo(rng: Random) -> PoseParts:
    """Taking a picture: both hands before the eyes."""
    stance = squat(rng) if rng.random() < 0.25 else stand(rng)
    return stance, hold_camera(rng), hold_camera(rng), 0.0


def posing(rng: Random) -> PoseParts:
    """Standing as for a portrait."""
    families = (on_hip, behind_head, spread, hang, on_chest, wave)
    left = _one_of(rng, *families)
    right = left if rng.random() < 0.4 else _one_of(rng, *families)
    return stand(rng), left, right, 0.0


def purchases(rng: Random) -> PoseParts:
    """Taking things from low places and carrying them."""
    stance = (bend_over, squat, stand)[int(rng.integers(3))](rng)
    return stance, reach_down(rng), _one_of(rng, reach_down, talk, hang), 0.2


def sitting(rng: Random) -> PoseParts:
    """On a stool."""
    return (
        sit(rng),
        _one_of(rng, on_lap, on_lap, on_chest, talk),
        _one_of(rng, on_lap, on_lap, on_chest, talk),
        0.0,
    )


def sitting_down(rng: Random) -> PoseParts:
    """On the floor, or on the way down to it."""
    stance = squat(rng) if rng.random() < 0.2 else sit_on_floor(rng)
    if stance.pelvis_lean < -0.1:
        return (
            stance,
            _one_of(rng, behind_back, behind_back, on_lap),
            _one_of(rng, behind_back, behind_back, on_lap),
            0.25,
        )
    return stance, _one_of(rng, on_lap, reach_down, talk), _one_of(rng, on_lap, reach_down, talk), 0.1


def smoking(rng: Random) -> PoseParts:
    """One hand at or near the mouth."""
    stance = _seat_or_stand(rng, 0.4)
    busy = _one_of(rng, hand_at_mouth, hand_at_mouth, talk)
    return stance, *_either_hand(rng, busy, _one_of(rng, on_chest, lambda r: _rest(r, stance))), 0.0


def waiting(rng: Random) -> PoseParts:
    """Standing or sitting about."""
    stance = _seat_or_stand(rng, 0.3)
    families: tuple[DrawGesture, ...] = (lambda r: _rest(r, stance), on_chest, hand_at_mouth)
    return stance, _one_of(rng, *families), _one_of(rng, *families), 0.1


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
    return stance, *_either_hand(rng, _one_of(rng, talk, spread), left), 0.0


ACTIONS: dict[str, Callable[[Random], PoseParts]] = {
    "Directions": directions,
    "Discussion": discussion,
    "Eating": eating,
    "Greeting": greeting,
    "Phoning": phoning,
    "Photo": photo,
    "Posing": posing,
    "Purchases": purchases,
    "Sitting": sitting,
    "SittingDown": sitting_down,
    "Smoking": smoking,
    "Waiting": waiting,
    "WalkDog": walking_dog,
    "Walking": walking,
    "WalkTogether": walking_together,
}
