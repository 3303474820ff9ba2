"""Poses that the actions of Human3.6M hardly hold: lying, with the feet up, bent over, arms crossed."""

import numpy as np

from integral_pose.synthetic.pose_parts import (
    Gesture,
    GestureFamily,
    Stance,
    behind_head,
    hang,
    hold_camera,
    on_chest,
    point,
    sit,
    spread,
    stand,
    talk,
    wave,
)

Random = np.random.Generator

arms_crossed = GestureFamily((0.28, 0.4), (-0.75, -0.45), (-0.35, -0.15), (-0.1, 0.8, -0.7))
dangle = GestureFamily((0.7, 0.97), (-0.1, 0.25), (-0.5, 0.15), (-0.2, 0.7, -0.4))  # from a trunk that leans forward
LYING_GESTURES = (hang, on_chest, talk, behind_head, hold_camera, point, spread, wave)


def draw_wide_parts(rng: Random) -> tuple[Stance, Gesture, Gesture, float]:
    """Stance, left arm, right arm and lean of the head: half of them lie, a quarter each bends over or crosses arms."""
    kind = rng.random()
    if kind < 0.5:
        left, right = (LYING_GESTURES[int(i)](rng) for i in rng.integers(len(LYING_GESTURES), size=2))
        return lie(rng), left, right, rng.uniform(0.0, 0.5)
    if kind < 0.75:
        bent = stand(rng)._replace(trunk_lean=rng.uniform(0.9, 1.9), pelvis_lean=rng.uniform(0.0, 0.5))
        return bent, dangle(rng), dangle(rng), rng.uniform(0.0, 0.4)
    stance = sit(rng) if rng.random() < 0.3 else stand(rng)
    return stance, arms_crossed(rng), arms_crossed(rng), 0.05


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
