"""Sex, age, weight, height and proportions of an adult -> the body at rest."""

from typing import NamedTuple

import numpy as np

from integral_pose.contracts import Array
from integral_pose.synthetic.people.body_data import BodyData
from integral_pose.synthetic.ray_casting import Array32

ANCHORS = {  # a trait in 0..1 -> the variations that it lies between
    "gender": ("male", "female"),
    "age": ("young", "old"),
    "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
    "weight": ("minweight", "averageweight", "maxweight"),
    "proportions": ("uncommonproportions", "idealproportions"),
}
RACES = ("african", "asian", "caucasian")


class Traits(NamedTuple):
    """What a body is like; in 0..1 where no unit is named, `origin` are shares that sum to 1."""

    gender: float  # 0 male, 1 female
    age: float  # 0 about 25, 1 old
    muscle: float
    weight: float
    stature_mm: float
    proportions: float
    origin: tuple[float, float, float]


class RestBody(NamedTuple):
    """A body at rest, in body axes with the floor at its soles."""

    vertices_mm: Array32  # (V, 3)
    heads_mm: Array  # (B, 3) of the bones


def draw_traits(rng: np.random.Generator) -> Traits:
    """An adult; most are near the middle, some are very tall, small, heavy or thin."""
    is_woman = rng.random() < 0.5
    gender = rng.uniform(0.85, 1.0) if is_woman else rng.uniform(0.0, 0.15)
    stature_mm = rng.normal(1640, 75) if is_woman else rng.normal(1765, 80)
    muscle, weight, proportions = rng.beta((2.5, 2.0, 3), (2.5, 2.2, 2))
    return Traits(
        gender, float(rng.beta(1, 2)), float(muscle), float(weight), float(np.clip(stature_mm, 1450, 2050)),
        float(proportions), tuple(rng.dirichlet((0.6, 0.6, 0.6)).tolist()),
    )  # fmt: skip


def rest_body(data: BodyData, traits: Traits) -> RestBody:
    """The weighted sum of the package's shapes, each weight a product as in MakeHuman, as tall as asked for."""
    share = _shares(traits)
    points = np.concatenate([data.vertices_mm, data.heads_mm])
    taller = np.zeros_like(points)  # what the smallest lacks to the tallest
    for names, shape in zip(data.shape_names, data.shapes_mm, strict=True):
        weight = np.float32(np.prod([share.get(name, 1.0) for name in sorted(names)]))
        if weight == 0:
            continue
        if "maxheight" in names:
            taller += weight * shape
        elif "minheight" in names:
            points += weight * shape
            taller -= weight * shape
        else:
            points += weight * shape
    small_mm, gain_mm = (float(np.ptp(points[data.ends, 2])), float(np.ptp((points + taller)[data.ends, 2])))
    points += np.float32((traits.stature_mm - small_mm) / (gain_mm - small_mm)) * taller
    points[:, 2] -= points[data.ends, 2].min()
    count = len(data.vertices_mm)
    return RestBody(points[:count], points[count:].astype(np.float64))


def _shares(traits: Traits) -> dict[str, float]:
    share = dict(zip(RACES, traits.origin, strict=True))
    for trait, names in ANCHORS.items():
        at = np.clip(getattr(traits, trait), 0, 1) * (len(names) - 1)
        share |= {name: float(max(0.0, 1 - abs(at - i))) for i, name in enumerate(names)}
    return share
