"""Colour of points on people and things; patterns lie on the body at rest and are the same on both sides of it."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.synthetic.people.garments import (
    EYE,
    HAIR,
    HAT,
    JACKET,
    SHIRT,
    SHOES,
    SKIN,
    SKIRT,
    TROUSERS,
    HeadPlace,
)
from integral_pose.synthetic.people.outfits import Cloth, Colour, Outfit
from integral_pose.synthetic.people.row_vectors import moved, scaled
from integral_pose.synthetic.ray_casting import Array32

NOISE_NODES = 32  # a power of two
NOISE_BLOCK = 8192  # points at a time, which a core's cache holds
GAMMA = 2.2  # of pictures


class Look(NamedTuple):
    """What colours a person is painted with, and where the face is."""

    outfit: Outfit
    head: HeadPlace
    chest_mm: float  # height of a print's middle


def paint_person(kind: int, rest_mm: Array32, lips: Array32, look: Look) -> Array32:
    """(N, 3) of points of one kind, which lie at `rest_mm` (N, 3) on the body at rest."""
    outfit = look.outfit
    cloths = {TROUSERS: outfit.trousers, SKIRT: outfit.trousers, SHIRT: outfit.shirt, JACKET: outfit.jacket,
              SHOES: outfit.shoes, HAT: outfit.hat_cloth}  # fmt: skip
    place = rest_mm.copy()
    np.abs(place[:, 1], out=place[:, 1])
    if kind == SKIN:
        return _paint_skin(place, lips, look)
    if kind == EYE:
        return _paint_eyes(place, look)
    if kind == HAIR:
        strands = 0.75 + 0.5 * noise(place * np.array((1.0, 1.0, 0.15), np.float32), 9.0, outfit.seed)
        return scaled(linear_light(outfit.hair), strands)
    colours = paint_cloth(place, cloths[kind], outfit.seed + kind)
    if kind == SHOES:
        colours[place[:, 2] < 8] = np.float32(0.75) if outfit.seed % 3 else np.float32(0.06)  # soles
    if kind == SHIRT and outfit.shirt.has_print:
        _print(colours, rest_mm, place, look)
    return colours


def paint_cloth(place: Array32, cloth: Cloth, seed: int) -> Array32:
    """(N, 3) of points (N, 3) mm: a pattern of two colours, and a little unevenness."""
    second = _second_share(place, cloth, seed)
    wear = 0.88 + 0.24 * noise(place, 60.0, seed + 3)
    first = linear_light(cloth.colour)
    return scaled(moved(scaled(linear_light(cloth.second) - first, second), first), wear)


def _second_share(place: Array32, cloth: Cloth, seed: int) -> Array32:
    step = np.float32(1 / cloth.size_mm)
    share = cloth.share

    def bands(axis: int) -> Array32:
        stripe: Array32 = ((place[:, axis] * step) % 1 < share).astype(np.float32)
        return stripe

    if cloth.pattern == "stripes across":
        return bands(2)
    if cloth.pattern == "stripes along":
        return bands(1)
    if cloth.pattern == "check":
        return np.float32(0.5) * (bands(2) + bands(1))
    if cloth.pattern == "dots":
        cell = (place * (2 * step)) % 1 - np.float32(0.5)
        return ((cell[:, 1:] ** 2).sum(axis=1) < 0.1 * share).astype(np.float32)
    if cloth.pattern == "blotches":
        return np.clip((noise(place, cloth.size_mm, seed) - (1 - share)) * 6 + 0.5, 0, 1)
    if cloth.pattern == "gradient":
        return np.clip(place[:, 2] * step * np.float32(0.1) % 1, 0, 1)
    return np.zeros(len(place), np.float32)


def _print(colours: Array32, rest_mm: Array32, place: Array32, look: Look) -> None:
    """Something on the front of a shirt."""
    cloth = look.outfit.shirt
    wide, tall = 40 + cloth.size_mm * 0.5, 30 + cloth.size_mm * 0.6
    up = (rest_mm[:, 2] - look.chest_mm) / tall
    across = place[:, 1] / wide
    inside = (rest_mm[:, 0] > 20) & (np.maximum(np.abs(up), across) < 1)
    texture = noise(place[inside], 12 + cloth.size_mm * 0.2, look.outfit.seed + 5)
    colours[inside] = np.where((texture > 0.5)[:, None], linear_light(cloth.second), colours[inside])


def _paint_skin(place: Array32, lips: Array32, look: Look) -> Array32:
    outfit, head = look.outfit, look.head
    skin = linear_light(outfit.skin)
    uneven = 0.92 + 0.16 * noise(place, 35.0, outfit.seed)
    colours = scaled(skin, uneven)
    side = place[:, 1]
    up = place[:, 2] - np.float32(head.eyes_mm[2])
    ahead = place[:, 0] - np.float32(head.eyes_mm[0])
    face = np.flatnonzero((up > -150) & (ahead > -70))
    if not len(face):
        return colours
    s, u, a = side[face], up[face], ahead[face]
    red = np.exp(-(((s - 38) / 22) ** 2) - ((u + 40) / 22) ** 2) * 0.25  # cheeks
    colours[face] *= 1 - red[:, None] * np.array((0.0, 0.55, 0.5), np.float32)
    mouth = np.clip(lips[face] * 1.6 - 0.7, 0, 1)[:, None]
    colours[face] = colours[face] * (1 - mouth * np.array((0.18, 0.48, 0.42), np.float32))
    apart = np.float32(head.eye_apart_mm)
    arch = 17 + 4 * np.cos((s - apart) / 16)
    brow = (np.abs(u - arch) < 4) & (np.abs(s - apart) < 21) & (a > -45)
    socket = np.exp(-(((s - apart) / 17) ** 2) - ((u - 2) / 11) ** 2) * 0.35
    colours[face] *= (1 - socket)[:, None]
    hair = linear_light(outfit.hair)
    colours[face] += (brow * np.float32(0.75))[:, None] * (hair - colours[face])
    if outfit.beard:
        chin = ((u < -58 + 0.35 * a) & (mouth[:, 0] < 0.2)).astype(np.float32) * np.float32(0.75 * outfit.beard)
        chin *= 0.6 + 0.4 * noise(place[face], 5.0, outfit.seed)
        colours[face] += chin[:, None] * (hair - colours[face])
    return colours


def _paint_eyes(place: Array32, look: Look) -> Array32:
    head = look.head
    away = np.hypot(place[:, 1] - np.float32(head.eye_apart_mm), place[:, 2] - np.float32(head.eyes_mm[2]))
    iris = ((0.16, 0.1, 0.06), (0.2, 0.28, 0.36), (0.25, 0.2, 0.1))[look.outfit.seed % 3]
    colours = np.full((len(place), 3), 0.62, np.float32)
    colours[away < 6.5] = iris
    colours[away < 3.0] = 0.02
    return colours


def linear_light(colour: Colour | Array) -> Array32:
    """Linear light of a colour that looks like `colour`."""
    return (np.asarray(colour) ** GAMMA).astype(np.float32)


def noise(place: Array32, size_mm: float, seed: int) -> Array32:
    """(N,) smooth in 0..1, blotches of that size."""
    total = np.zeros(len(place), np.float32)
    for first in range(0, len(place), NOISE_BLOCK):
        block = slice(first, first + NOISE_BLOCK)
        _add_noise(total[block], place[block] * np.float32(1 / size_mm) + np.float32(seed % 97))
    return total


def _add_noise(total: Array32, at: Array32) -> None:
    """To `total` (N,), at places (N, 3) in nodes."""
    (x, share_x), (y, share_y), (z, share_z) = (_node_and_share(at[:, axis]) for axis in range(3))
    low, rise = _noise_tables()
    for i in (0, 1):
        weight_x = share_x if i else 1 - share_x
        plane = ((x + i) & (NOISE_NODES - 1)) * NOISE_NODES**2 + z
        for j in (0, 1):
            node = plane + ((y + j) & (NOISE_NODES - 1)) * NOISE_NODES
            value = rise.take(node)
            value *= share_z
            value += low.take(node)
            value *= weight_x * (share_y if j else 1 - share_y)
            total += value


def _node_and_share(at: Array32) -> tuple[NDArray[np.intp], Array]:
    """The node before each place, and how far it is to the next one, smoothed, 0..1."""
    before = np.floor(at)
    share = at.astype(np.float64) - before
    share *= share * (3 - 2 * share)
    return before.astype(np.intp) & (NOISE_NODES - 1), share


@cache
def _noise_tables() -> tuple[Array, Array]:
    """The value at each node, and how much the next one along the last axis has more."""
    low = np.random.default_rng(2).random(NOISE_NODES**3, dtype=np.float32).reshape((NOISE_NODES,) * 3)
    rise = np.roll(low, -1, axis=2) - low
    return low.ravel().astype(np.float64), rise.ravel().astype(np.float64)
