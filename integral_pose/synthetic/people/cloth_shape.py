"""How cloth leaves the body at rest: off the skin, hanging, wide, with even hems; the same on both sides."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.synthetic.people.body_data import BodyData
from integral_pose.synthetic.people.row_vectors import dots, over
from integral_pose.synthetic.people.shapes import RestBody
from integral_pose.synthetic.ray_casting import Array32

ARM = ("upperarm01", "lowerarm01", "wrist")
LEG = ("upperleg01", "lowerleg01", "foot")


class Limbs(NamedTuple):
    """Where every vertex lies, on the mean body; 0 where the limb begins, 1 at wrist or ankle."""

    arm: Array32  # (V,) -1 where it is no arm
    leg: Array32  # (V,) -1 where it is no leg
    height: Array32  # (V,) of the trunk: 0 at the hip joints, 1 at the neck
    normal: Array32  # (V, 3)


def stand_off(points_mm: Array32, limbs: Limbs, gap_mm: float, folds_mm: float, seed: int) -> Array32:
    """Off the skin, with folds across the limbs."""
    rng = np.random.default_rng(seed)
    folds = np.zeros(len(points_mm), np.float32)
    place = points_mm * (1, 0, 1) + np.abs(points_mm) * (0, 1, 0)
    for _ in range(4):
        wave = rng.normal(size=3) * (0.6, 0.6, 1.0) * (2 * np.pi / rng.uniform(70, 190))
        folds += np.sin(place @ wave + rng.uniform(0, 6)).astype(np.float32)
    out: Array32 = points_mm + limbs.normal * (np.float32(gap_mm) + np.float32(folds_mm / 2) * folds)[:, None]
    return out


def hang_straight(body: RestBody, points_mm: Array32, limbs: Limbs, drape: float) -> Array32:
    """The trunk of a shirt falls straight from the chest instead of following the waist."""
    trunk = np.flatnonzero((limbs.arm < 0) & (limbs.height < 0.62))
    below = np.clip((0.62 - limbs.height[trunk]) / 0.4, 0, 1) * drape
    out = points_mm.copy()
    middle = out[trunk, :2].mean(axis=0) * (1, 0)
    out[trunk, :2] = middle + (out[trunk, :2] - middle) * (1 + 0.22 * below)[:, None]
    return out


def _bones(data: BodyData, body: RestBody, names: tuple[str, str, str], side: str) -> Array:
    return body.heads_mm[[data.bones.index(f"{name}.{side}") for name in names]]


def _from_axis(data: BodyData, body: RestBody, points_mm: Array32, where: NDArray[np.intp], at: Array32,
               names: tuple[str, str, str], side: str) -> Array:  # fmt: skip
    """(n, 3) of the limb's axis at the height of each point."""
    first, middle, last = _bones(data, body, names, side)
    share = np.clip(at[where], 0, 1)[:, None] * 2
    axis: Array = np.where(share < 1, first + share * (middle - first), middle + (share - 1) * (last - middle))
    return axis


def widen_legs(data: BodyData, body: RestBody, points_mm: Array32, limbs: Limbs, width: float) -> Array32:
    """Legs of trousers no narrower than a share of the thigh's width."""
    return _widen(data, body, points_mm, limbs.leg, width * 88, LEG)


def widen_arms(data: BodyData, body: RestBody, points_mm: Array32, limbs: Limbs, width: float) -> Array32:
    """Sleeves no narrower than a share of the upper arm's width."""
    return _widen(data, body, points_mm, limbs.arm, width * 62, ARM)


def _widen(
    data: BodyData, body: RestBody, points_mm: Array32, at: Array32, least_mm: float, names: tuple[str, str, str]
) -> Array32:
    out = points_mm.copy()
    for side, sign in (("L", 1), ("R", -1)):
        where = np.flatnonzero((at > 0.15) & (at < 0.97) & (points_mm[:, 1] * sign > 0))
        axis = _from_axis(data, body, points_mm, where, at, names, side)
        away = points_mm[where] - axis
        radius = np.linalg.norm(away, axis=1)
        wider = np.maximum(radius, least_mm * np.clip((at[where] - 0.15) / 0.2, 0, 1))
        out[where] = axis + away * (wider / np.maximum(radius, 1))[:, None]
    return out


def pull_in(
    data: BodyData, body: RestBody, points_mm: Array32, at: Array32, end: float, names: tuple[str, str, str]
) -> Array32:
    """Vertices beyond the end of the cloth are moved along the limb to it, so that the hem is even."""
    out, share = points_mm.copy(), np.abs(at)
    for side, sign in (("L", 1), ("R", -1)):
        where = np.flatnonzero((at > end) & (share > 0) & (share < 1.01) & (points_mm[:, 1] * sign > 0))
        away = _from_axis(data, body, points_mm, where, share, names, side)
        ends = np.full_like(share, abs(end))
        out[where] += (_from_axis(data, body, points_mm, where, ends, names, side) - away).astype(np.float32)
    return out


def cut_trunk(
    body: RestBody, points_mm: Array32, limbs: Limbs, low: float | None = None, high: float | None = None
) -> Array32:
    """Even hems of the trunk: points beyond them are moved up or down."""
    hip_mm, neck_mm = body.heads_mm[1, 2], body.heads_mm[NECK_BONE, 2]
    out, trunk = points_mm.copy(), limbs.arm < 0
    if low is not None:
        out[trunk, 2] = np.maximum(out[trunk, 2], hip_mm + low * (neck_mm - hip_mm))
    if high is not None and high < 1:
        out[trunk, 2] = np.minimum(out[trunk, 2], hip_mm + high * (neck_mm - hip_mm))
    return out


def half_width_mm(limbs: Limbs, strap_mm: float) -> Array32:
    """(V,) how far a top without sleeves reaches from the middle; below the armholes there is no limit."""
    above = np.clip((limbs.height - ARMHOLES_FROM) / (STRAPS_FROM - ARMHOLES_FROM), 0, 1)
    return np.where(above > 0, strap_mm + ARMHOLE_MM * (1 - above) ** 2, np.inf).astype(np.float32)


def cut_sides(points_mm: Array32, limit_mm: Array32) -> Array32:
    """Points farther from the middle than (V,) `limit_mm` are moved to it."""
    out = points_mm.copy()
    out[:, 1] = np.clip(out[:, 1], -limit_mm, limit_mm)
    return out


ARMHOLES_FROM, STRAPS_FROM = 0.62, 0.86  # heights of the trunk
ARMHOLE_MM = 110.0  # how much wider than the straps a top is below the arms
NECK_BONE = -4  # neck01, of the last four bones


@cache
def limbs_of(data: BodyData) -> Limbs:
    """Measured on the mean body, whose vertices every other shares."""
    heads, points = data.heads_mm.astype(np.float64), data.vertices_mm.astype(np.float64)
    body = RestBody(data.vertices_mm, heads)
    arm, leg = (np.full(len(points), -1.0, np.float32) for _ in range(2))
    strongest = np.array(data.bones)[data.weights.argmax(axis=1)]
    for at, names, parts in (
        (arm, ARM, ("upperarm", "lowerarm", "wrist", "finger")), (leg, LEG, ("upperleg", "lowerleg", "foot"))
    ):  # fmt: skip
        for side in "LR":
            first, middle, last = _bones(data, body, names, side)
            for number, part in enumerate(parts):
                rows = np.flatnonzero(
                    np.char.startswith(strongest, part) & np.char.endswith(strongest, side)
                )  # fmt: skip
                start, end = (first, middle) if number == 0 else (middle, last)
                along = (points[rows] - start) @ (end - start) / ((end - start) @ (end - start))
                at[rows] = 0.5 * min(number, 1) + 0.5 * np.maximum(along, 0.0)
                if number >= 2:
                    at[rows] = np.maximum(at[rows], 1.0)
    hip_mm, neck_mm = heads[1, 2], heads[NECK_BONE, 2]
    height = ((points[:, 2] - hip_mm) / (neck_mm - hip_mm)).astype(np.float32)
    everything = np.concatenate(list(data.faces.values()))
    return Limbs(arm, leg, height, vertex_normals(data.vertices_mm, everything))


def vertex_normals(points_mm: Array32, faces: NDArray[np.int32]) -> Array32:
    """(V, 3) unit vectors, the mean of the faces round each vertex by their areas."""
    a, b, c = (points_mm.take(faces[:, corner], axis=0) for corner in range(3))
    u, v = b - a, c - a
    normals = np.empty_like(points_mm)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        of_face = (u[:, i] * v[:, j] - u[:, j] * v[:, i]).astype(np.float64)
        normals[:, k] = sum(np.bincount(faces[:, corner], of_face, len(points_mm)) for corner in range(3))
    return over(normals, np.maximum(np.sqrt(dots(normals, normals)), 1e-12))
