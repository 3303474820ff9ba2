"""Parts of poses: stances (legs and trunk) and gestures (one arm), each a family with its own distribution."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from integral_pose.synthetic.body_model import LEFT, RIGHT

Random = np.random.Generator

ANKLE = 0.09  # height of the ankle over the floor, in leg lengths
ARM_POLE = (-0.6, 0.5, -0.6)  # an elbow points backwards, outwards and down
LEG_POLE = (1.0, 0.12, 0.1)


class Stance(NamedTuple):
    """Legs and trunk of a pose; the fields are those of `Pose`."""

    ankles: list[tuple[float, float, float]]
    knee_poles: list[tuple[float, float, float]]
    trunk_lean: float  # radians, forward
    hip_height: float | None
    seat: str
    pelvis_lean: float = 0.0
    lying: tuple[float, float] | None = None


class Gesture(NamedTuple):
    """A hand's place in arm lengths from the shoulder (forward, outward, up), and where the elbow points."""

    wrist: tuple[float, float, float]
    pole: tuple[float, float, float] = ARM_POLE


@dataclass(frozen=True)
class GestureFamily:
    """Ranges of a hand's place, each from .. to, as in `Gesture`; drawn evenly."""

    forward: tuple[float, float]
    outward: tuple[float, float]
    up: tuple[float, float]
    pole: tuple[float, float, float] = ARM_POLE

    def __call__(self, rng: Random) -> Gesture:
        """One gesture of the family."""
        ranges = (self.forward, self.outward, self.up)
        forward, outward, up = (start + (end - start) * rng.random() for start, end in ranges)
        return Gesture((forward, outward, up), self.pole)


# --- stances ---------------------------------------------------------------------------------------------


def stand(rng: Random) -> Stance:
    """Both feet on the floor, weight anywhere between them."""
    apart, ahead = rng.uniform(-0.03, 0.16), rng.normal(0, 0.08)
    ankles = [(ahead, apart, ANKLE), (-ahead, apart + rng.normal(0, 0.03), ANKLE)]
    return Stance(ankles, [LEG_POLE, LEG_POLE], rng.normal(0.05, 0.10), None, "none")


def walk(rng: Random) -> tuple[Stance, float]:
    """A moment of a stride, and how far the left leg is ahead (-1 .. 1); the swinging foot is lifted."""
    phase, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.18, 0.42)
    swing = np.array([phase, phase + np.pi])
    ahead, lift = length * np.cos(swing), 0.16 * np.maximum(-np.sin(swing), 0) * rng.uniform(0.5, 1.3)
    trail = 0.06 * np.maximum(-np.cos(swing), 0)  # the heel of the rear foot leaves the floor
    ankles = [(float(ahead[i]), rng.normal(-0.02, 0.03), float(ANKLE + lift[i] + trail[i])) for i in (LEFT, RIGHT)]
    return Stance(ankles, [LEG_POLE, LEG_POLE], rng.normal(0.08, 0.06), None, "none"), float(np.cos(phase))


def sit(rng: Random) -> Stance:
    """On a stool: knees bent, feet on the floor or one leg crossed over the other."""
    height = rng.uniform(0.54, 0.66)
    ankles = [(rng.uniform(0.28, 0.68), rng.uniform(-0.08, 0.2), ANKLE) for _ in range(2)]
    poles = [(0.8, rng.uniform(-0.1, 0.4), 1.0) for _ in range(2)]
    if rng.random() < 0.25:
        over = int(rng.integers(2))
        ankles[over] = (rng.uniform(0.5, 0.7), rng.uniform(-0.4, -0.25), rng.uniform(0.28, 0.45))
        poles[over] = (0.6, 0.3, 1.0)
    return Stance(ankles, poles, rng.normal(0.1, 0.2), height, "stool", rng.normal(-0.08, 0.08))


def sit_on_floor(rng: Random) -> Stance:
    """Legs stretched, knees up, cross-legged, or one leg each way; upright or leaning back."""
    legs = {
        "stretched": lambda: ((rng.uniform(0.85, 0.97), rng.uniform(-0.05, 0.25), 0.08), (0.1, 0.15, 1.0)),
        "knee up": lambda: ((rng.uniform(0.38, 0.62), rng.uniform(-0.05, 0.2), ANKLE), (0.5, 0.1, 1.0)),
        "crossed": lambda: ((rng.uniform(0.3, 0.42), rng.uniform(-0.32, -0.12), 0.08), (0.4, 1.0, 0.35)),
    }
    kind = rng.choice(list(legs))
    kinds = [kind, kind if rng.random() < 0.7 or kind == "crossed" else rng.choice(["stretched", "knee up"])]
    drawn = [legs[k]() for k in kinds]
    lean = -rng.uniform(0.25, 0.9) if rng.random() < 0.4 else rng.uniform(-0.1, 0.35)
    return Stance(
        [d[0] for d in drawn], [d[1] for d in drawn], 0.4 * lean, rng.uniform(0.11, 0.14), "floor", 0.6 * lean
    )


def recline(rng: Random) -> Stance:
    """On the floor, the trunk between sitting and lying; each leg stretched, with the knee up, or raised."""
    back = rng.uniform(0.6, 1.35)
    kind = rng.choice(RECLINING_LEGS)
    legs = [_reclining_leg(kind if rng.random() < 0.5 else rng.choice(RECLINING_LEGS), rng) for _ in range(2)]
    ankles, knee_poles = zip(*legs, strict=True)
    return Stance(list(ankles), list(knee_poles), -0.3 * back, rng.uniform(0.11, 0.14), "floor", -0.7 * back)


RECLINING_LEGS = ("stretched", "knee up", "raised", "raised")


def _reclining_leg(kind: str, rng: Random) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Ankle and knee pole; a leg reaches so far from the hip, at an angle over the floor."""
    angle, reach = {
        "stretched": (rng.uniform(-0.05, 0.05), rng.uniform(0.85, 0.98)),
        "knee up": (rng.uniform(-0.05, 0.05), rng.uniform(0.38, 0.75)),
        "raised": (rng.uniform(0.1, 1.5), rng.uniform(0.6, 0.99)),
    }[kind]
    ankle = (reach * np.cos(angle), rng.uniform(-0.08, 0.25), ANKLE + reach * np.sin(angle))
    return ankle, (-np.sin(angle), rng.uniform(-0.1, 0.3), np.cos(angle))


def squat(rng: Random) -> Stance:
    """Low over both feet, or one knee on the floor."""
    if rng.random() < 0.5:
        ankles = [(rng.uniform(-0.02, 0.1), rng.uniform(0.0, 0.15), ANKLE) for _ in range(2)]
        return Stance(ankles, [(1.0, 0.4, 0.3)] * 2, rng.uniform(0.3, 0.8), rng.uniform(0.38, 0.6), "none", 0.1)
    front = int(rng.integers(2))
    ankles = [(-0.45, rng.uniform(-0.02, 0.08), 0.07)] * 2
    poles = [(1.0, 0.1, -0.8)] * 2
    ankles[front], poles[front] = (rng.uniform(0.35, 0.5), rng.uniform(0.0, 0.12), ANKLE), (0.7, 0.1, 1.0)
    return Stance(ankles, poles, rng.uniform(0.0, 0.4), rng.uniform(0.5, 0.56), "none")


def bend_over(rng: Random) -> Stance:
    """Standing with the trunk well forward, as over a low shelf."""
    return stand(rng)._replace(trunk_lean=rng.uniform(0.35, 1.3))


def lie(rng: Random) -> Stance:
    """On the back, a side or the front: an upright stance with the hip one leg's length high, laid down afterwards."""
    roll = rng.normal(0, 0.25)  # on the back
    if (place := rng.random()) > 0.65:
        roll += rng.choice([-1, 1]) * np.pi / 2 if place < 0.85 else np.pi
    is_on_front = abs(roll) > 2.2
    kinds = ["stretched"] if is_on_front else ["stretched", "knees up", "feet up", "feet up"]
    kind = rng.choice(kinds)
    legs = [_leg(kind if rng.random() < 0.8 else rng.choice(kinds), rng) for _ in range(2)]
    ankles, knee_poles = zip(*legs, strict=True)
    return Stance(list(ankles), list(knee_poles), rng.normal(0.05, 0.12), 1.0, "floor",
                  lying=(float(roll), rng.normal(-np.pi / 2, 0.1)))  # fmt: skip


def _leg(kind: str, rng: Random) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Ankle and knee pole of a leg that is drawn up to the trunk by an angle and reaches so far from the hip."""
    angle, reach = {
        "stretched": (rng.uniform(-0.1, 0.2), rng.uniform(0.93, 0.99)),
        "knees up": (rng.uniform(0.0, 0.15), rng.uniform(0.45, 0.75)),
        "feet up": (rng.uniform(0.8, 1.9), rng.uniform(0.6, 0.98)),
    }[kind]
    outwards = rng.uniform(-0.03, 0.18)
    ankle = (reach * np.sin(angle), outwards, 1 - reach * np.cos(angle))
    return ankle, (np.cos(angle), 0.15, np.sin(angle))


# --- gestures of one arm -----------------------------------------------------------------------------------

hang = GestureFamily((-0.12, 0.25), (0.02, 0.25), (-0.88, -0.97))  # down at the side
talk = GestureFamily((0.35, 0.75), (-0.25, 0.35), (-0.6, -0.05))  # before the trunk, where hands move in talk
wave = GestureFamily((-0.05, 0.35), (0.1, 0.55), (0.3, 0.95), (0.1, 0.9, -0.6))  # over the shoulder, or straight up
hand_at_mouth = GestureFamily((0.3, 0.42), (-0.34, -0.2), (0.1, 0.22), (-0.1, 0.6, -0.8))
hand_at_ear = GestureFamily((0.06, 0.18), (-0.12, 0.04), (0.22, 0.36), (0.2, 0.8, -0.6))
hold_camera = GestureFamily((0.4, 0.55), (-0.25, -0.13), (0.14, 0.28), (0.1, 0.7, -0.7))  # before the eyes
on_hip = GestureFamily((0.0, 0.15), (-0.02, 0.12), (-0.7, -0.8), (-0.5, 1.0, 0.0))  # elbow out
on_chest = GestureFamily((0.3, 0.42), (-0.5, -0.3), (-0.45, -0.3), (-0.1, 0.6, -0.8))  # across it
behind_head = GestureFamily((-0.1, 0.02), (-0.15, 0.0), (0.38, 0.5), (0.2, 1.0, 0.1))
reach_down = GestureFamily((0.3, 0.75), (-0.15, 0.3), (-0.4, -0.85))  # to take something up
on_lap = GestureFamily((0.35, 0.62), (-0.3, 0.12), (-0.5, -0.72))  # on the thighs of somebody who sits
behind_back = GestureFamily((-0.3, -0.6), (0.1, 0.45), (-0.75, -0.9), (-0.8, 0.5, 0.2))  # holds the trunk on the floor
arms_crossed = GestureFamily((0.28, 0.4), (-0.75, -0.45), (-0.35, -0.15), (-0.1, 0.8, -0.7))
dangle = GestureFamily((0.7, 0.97), (-0.1, 0.25), (-0.5, 0.15), (-0.2, 0.7, -0.4))  # from a trunk that leans forward


def on_elbow(back: float) -> Callable[[Random], Gesture]:
    """Elbow and forearm on the floor, for a trunk that leans back by so many radians from upright."""
    down, ahead = np.array([-np.sin(back), 0.0, -np.cos(back)]), np.array([np.cos(back), 0.0, -np.sin(back)])

    def draw(rng: Random) -> Gesture:
        outward, turn = rng.uniform(-0.05, 0.15), rng.uniform(-0.6, 0.8)  # of the elbow; of the forearm, inwards
        elbow = 0.5 * down - 0.08 * ahead * rng.uniform(-1, 1)
        wrist = elbow + 0.46 * np.cos(turn) * ahead
        x, z = float(wrist[0]), float(wrist[2])
        return Gesture((x, outward - 0.46 * float(np.sin(turn)), z), (float(down[0]), 0.3, float(down[2])))

    return draw


def point(rng: Random) -> Gesture:
    """Stretched out forwards or sideways."""
    angle, rise = rng.uniform(-0.4, 1.7), rng.uniform(-0.3, 0.5)
    wrist = np.array([np.cos(angle) * np.cos(rise), np.sin(angle) * np.cos(rise), np.sin(rise)])
    x, y, z = (float(v) for v in wrist * rng.uniform(0.85, 0.99))
    return Gesture((x, y, z), (-0.3, 0.4, -0.9))


def spread(rng: Random) -> Gesture:
    """Straight out to the side."""
    return Gesture((rng.normal(0, 0.12), rng.uniform(0.85, 0.97), rng.uniform(-0.2, 0.3)), (-0.5, 0.0, -0.8))
