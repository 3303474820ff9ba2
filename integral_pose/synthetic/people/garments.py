"""What somebody wears, cut from the surfaces that the package's mesh has round the body: one mesh of all layers.

Everything is drawn on the body at rest and is the same on both sides. Clothes stand off the skin, hang, and have folds;
the skin under them is left out.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.synthetic.people.body_data import BodyData
from integral_pose.synthetic.people.cloth_shape import (
    ARM,
    LEG,
    Limbs,
    cut_sides,
    cut_trunk,
    half_width_mm,
    hang_straight,
    limbs_of,
    pull_in,
    stand_off,
    widen_arms,
    widen_legs,
)
from integral_pose.synthetic.people.outfits import Outfit
from integral_pose.synthetic.people.shapes import RestBody
from integral_pose.synthetic.ray_casting import Array32

SKIN, EYE, HAIR, TROUSERS, SHIRT, JACKET, SKIRT, SHOES, HAT = range(9)
OVERLAP = 0.06  # of skin that goes on under a hem, in limbs' lengths
UNDER_MM = 25.0  # of skin that goes on under a strap


class Mesh(NamedTuple):
    """Layers in one; `rest_mm` is where a point lies on the body at rest."""

    rest_mm: Array32  # (V, 3)
    weights: Array32  # (V, B)
    faces: NDArray[np.int32]  # (F, 3)
    kind: NDArray[np.uint8]  # (F,)
    lips: Array32  # (V,)
    face_numbers: NDArray[np.object_]  # `faces` as Python's own numbers

    def kind_of_vertices(self) -> NDArray[np.uint8]:
        """(V,) of the layer that each belongs to."""
        kinds = np.zeros(len(self.rest_mm), np.uint8)
        kinds[self.faces.ravel()] = np.repeat(self.kind, 3)
        return kinds


def dress(data: BodyData, body: RestBody, outfit: Outfit) -> Mesh:
    """The visible skin, eyes, hair and clothes of a body at rest."""
    limbs = limbs_of(data)
    layers = [
        _skin(data, body, outfit, limbs),
        (body.vertices_mm, np.concatenate([data.faces["helper-l-eye"], data.faces["helper-r-eye"]]), EYE),
        *_hair(data, body, outfit),
        *_below(data, body, outfit, limbs),
        *_above(data, body, outfit, limbs),
    ]
    points, faces, kinds, sources, count = [], [], [], [], 0
    for points_mm, of_layer, kind in layers:
        used = np.flatnonzero(np.bincount(of_layer.ravel(), minlength=len(points_mm)))
        renumbered = np.zeros(len(points_mm), np.int32)
        renumbered[used] = np.arange(count, count + len(used))
        points.append(points_mm[used])
        sources.append(used)
        faces.append(renumbered[of_layer])
        kinds.append(np.full(len(of_layer), kind, np.uint8))
        count += len(used)
    source, all_faces = np.concatenate(sources), np.concatenate(faces)
    return Mesh(
        np.concatenate(points), data.weights[source], all_faces, np.concatenate(kinds), data.lips[source],
        all_faces.astype(object),
    )  # fmt: skip


Layer = tuple[Array32, NDArray[np.int32], int]  # all vertices, the faces that are shown, kind


def _skin(data: BodyData, body: RestBody, outfit: Outfit, limbs: Limbs) -> Layer:
    """Body where no cloth is."""
    arm = limbs.arm > max(outfit.sleeve, outfit.jacket_sleeve) - OVERLAP
    leg = (limbs.leg > outfit.leg_end - OVERLAP) & ((limbs.leg < SHOE_TOP + OVERLAP) | (outfit.shoe_rise is None))
    trunk = (limbs.arm < 0) & (limbs.leg < 0) & (limbs.height > outfit.neck - 0.09)
    if outfit.strap_mm is not None:
        trunk |= (limbs.arm < 0) & (np.abs(body.vertices_mm[:, 1]) > half_width_mm(limbs, outfit.strap_mm) - UNDER_MM)
    shown = arm | leg | trunk
    faces = data.faces["body"]
    return body.vertices_mm, faces[shown[faces].any(axis=1)], SKIN


SHOE_TOP = 0.93  # of the leg


def _below(data: BodyData, body: RestBody, outfit: Outfit, limbs: Limbs) -> list[Layer]:
    """Trousers, shorts or a skirt, and shoes."""
    layers: list[Layer] = []
    tights, faces = body.vertices_mm, data.faces["helper-tights"]
    if outfit.skirt is None or outfit.leg_end > 0.5:
        inside = ((limbs.leg >= 0) & (limbs.leg < outfit.leg_end)) | (
            (limbs.leg < 0) & (limbs.arm < 0) & (limbs.height < outfit.waist)
        )
        points = stand_off(tights, limbs, outfit.trouser_gap_mm, outfit.folds_mm, outfit.seed)
        points = widen_legs(data, body, points, limbs, outfit.leg_width)
        shown = faces[inside[faces].any(axis=1)]
        points = pull_in(data, body, points, limbs.leg, outfit.leg_end, LEG)
        points = cut_trunk(body, points, limbs, high=outfit.waist)
        layers.append((points, shown, TROUSERS))
    if outfit.skirt is not None:
        layers.append(_skirt(data, body, outfit))
    if outfit.shoe_rise is not None:
        top = SHOE_TOP - outfit.shoe_rise
        points = stand_off(tights, limbs, 9.0, 0.0, 0)
        points[:, 2] = np.maximum(points[:, 2], -12.0)  # a sole
        points = pull_in(data, body, points, -limbs.leg, -top, LEG)
        shoe = limbs.leg > top
        layers.append((points, faces[shoe[faces].any(axis=1)], SHOES))
    return layers


def _above(data: BodyData, body: RestBody, outfit: Outfit, limbs: Limbs) -> list[Layer]:
    """A shirt, and at times something over it."""
    points, faces, kind = _top(
        data, body, limbs, outfit, outfit.sleeve, outfit.hem, outfit.shirt_gap_mm, outfit.neck, SHIRT
    )  # fmt: skip
    if outfit.strap_mm is not None:
        limit_mm = half_width_mm(limbs, outfit.strap_mm)
        inside = (np.abs(points[:, 1]) < limit_mm) & (limbs.arm < 0)
        points, faces = cut_sides(points, limit_mm), faces[inside[faces].any(axis=1)]
    layers = [(points, faces, kind)]
    if outfit.jacket_sleeve > 0:
        gap_mm = outfit.shirt_gap_mm + 12
        points, faces, kind = _top(
            data, body, limbs, outfit, outfit.jacket_sleeve, outfit.jacket_hem, gap_mm, 1.06, JACKET
        )  # fmt: skip
        middle = points[faces].mean(axis=1)
        normal_x = limbs.normal[faces[:, 0], 0]
        is_open = (normal_x > 0.2) & (np.abs(middle[:, 1]) < outfit.opening_mm) & (limbs.arm[faces[:, 0]] < 0)
        layers.append((points, faces[~is_open], kind))
    return layers


def _top(
    data: BodyData, body: RestBody, limbs: Limbs, outfit: Outfit, sleeve: float, hem: float, gap_mm: float, neck: float,
    kind: int,
) -> Layer:  # fmt: skip
    faces = data.faces["helper-tights"]
    trunk = (limbs.arm < 0) & (limbs.height > hem) & (limbs.height < neck) & ((limbs.leg < 0) | (limbs.leg < 0.3))
    inside = trunk | ((limbs.arm >= 0) & (limbs.arm < sleeve))
    points = stand_off(body.vertices_mm, limbs, gap_mm, outfit.folds_mm, outfit.seed + kind)
    points = hang_straight(body, points, limbs, outfit.drape)
    points = widen_arms(data, body, points, limbs, outfit.sleeve_width)
    points = pull_in(data, body, points, limbs.arm, sleeve, ARM)
    points = cut_trunk(body, points, limbs, low=hem, high=neck)
    return points, faces[inside[faces].any(axis=1)], kind


def _skirt(data: BodyData, body: RestBody, outfit: Outfit) -> Layer:
    """As long and wide as asked for, from the waist down."""
    assert outfit.skirt is not None
    faces, points = data.faces["helper-skirt"], body.vertices_mm.copy()
    rows = np.unique(faces)
    top_mm, low_mm = points[rows, 2].max(), points[rows, 2].min()
    hem_mm = top_mm - outfit.skirt * (top_mm - low_mm)
    shown = (points[:, 2] > hem_mm)[faces].any(axis=1)
    down = np.clip((top_mm - points[rows, 2]) / (top_mm - low_mm), 0, 1)
    wave = 1 + 0.06 * down * np.sin(9 * np.arctan2(points[rows, 0], np.abs(points[rows, 1])))
    scale = (1.04 + (outfit.flare - 1) * down) * wave
    points[rows, 0] *= scale
    points[rows, 1] *= scale
    points[rows, 2] = np.maximum(points[rows, 2], hem_mm)
    return points, faces[shown], SKIRT


def _hair(data: BodyData, body: RestBody, outfit: Outfit) -> list[Layer]:
    """The scalp drawn out along its normals; long hair falls from the package's own surface of it."""
    layers: list[Layer] = []
    head = head_place(data, body)
    limbs = limbs_of(data)
    relative = body.vertices_mm - head.eyes_mm
    body_faces = data.faces["body"]
    tilt = 0.75 if outfit.hair_length < 0.4 else 1.0
    thick_mm = outfit.hair_mm
    scalp = (relative[:, 2] > head.hairline_mm + tilt * (relative[:, 0] + 8)) & (
        data.weights[:, data.bones.index("head")] > 0.5
    ) & (np.abs(relative[:, 1]) < head.half_width_mm)  # fmt: skip
    kind = HAT if outfit.hat else HAIR
    if thick_mm > 0 or outfit.hat:
        rest = np.float32(0.02) * body.vertices_mm
        rough = np.sin(rest[:, 2] * 7 + outfit.seed) * np.sin(np.abs(rest[:, 1]) * 6) * np.sin(rest[:, 0] * 5 + 1)
        rise = np.clip((relative[:, 2] - head.hairline_mm - tilt * (relative[:, 0] + 8)) / 25, 0.05, 1)
        points = body.vertices_mm + limbs.normal * (rise * (thick_mm * (1 + 0.3 * rough)))[:, None]
        layers.append((points.astype(np.float32), body_faces[scalp[body_faces].all(axis=1)], kind))
    if outfit.hair_length >= 0.4:
        faces, points = data.faces["helper-hair"], body.vertices_mm.copy()
        low_mm = head.crown_mm - (0.16 + 0.36 * (outfit.hair_length - 0.4)) * 1000
        behind = (relative[:, 0] < -35 + 25 * (outfit.hair_length - 0.4))[faces].all(axis=1)
        shown = behind & (points[:, 2] > low_mm)[faces].any(axis=1)
        rows = np.unique(faces)
        points[rows, 2] = np.maximum(points[rows, 2], low_mm)
        layers.append((points, faces[shown], HAIR))
    return layers


class HeadPlace(NamedTuple):
    """Landmarks of the head at rest."""

    eyes_mm: Array  # (3,) between the eyes
    eye_apart_mm: float  # from there to either
    crown_mm: float  # height of the highest point
    hairline_mm: float  # over the eyes
    half_width_mm: float  # of the skull, without ears


def head_place(data: BodyData, body: RestBody) -> HeadPlace:
    """Measured on this body."""
    eye = body.vertices_mm[np.unique(data.faces["helper-l-eye"])].astype(np.float64)
    centre = (eye.min(axis=0) + eye.max(axis=0)) / 2
    skull = body.vertices_mm[data.face_vertices]
    crown_mm = float(skull[:, 2].max())
    above = skull[skull[:, 2] > centre[2] + 55]
    eyes = np.array([eye[:, 0].max(), 0.0, centre[2]])
    return HeadPlace(eyes, float(centre[1]), crown_mm, 0.42 * (crown_mm - centre[2]), float(above[:, 1].max()) * 1.12)
