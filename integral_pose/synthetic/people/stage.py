"""People and rooms as meshes that rays meet (Embree), and the light that falls on them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.synthetic.people.cloth_shape import vertex_normals
from integral_pose.synthetic.people.garments import SHOES, SKIN, Mesh
from integral_pose.synthetic.people.materials import Look, paint_cloth, paint_person
from integral_pose.synthetic.people.room import RoomMesh
from integral_pose.synthetic.people.rotations import unit
from integral_pose.synthetic.people.row_vectors import add_scaled, dots, moved, over, scaled
from integral_pose.synthetic.ray_casting import Array32

FIRST_THING = 32  # kinds from here on are things of the room
LIFT_MM = 4.0  # rays towards lights start so far off the surface
OCCLUSION_REACH = 900.0  # mm


class Stage(NamedTuple):
    """All that rays can meet, in camera axes, mm."""

    embree: Any  # an EmbreeScene
    rest_mm: Array32  # (V, 3) of the person
    normals: Array32  # (V, 3) of the person
    lips: Array32  # (V,)
    faces: NDArray[np.int32]  # (F, 3), the person's first
    face_normals: Array32  # (F, 3) of things
    kind: NDArray[np.int32]  # (F,)
    look: Look
    room: RoomMesh
    rotation: Array32  # (3, 3) room axes -> camera axes
    floor_mm: Array32  # (3,) the room's origin


class Light(NamedTuple):
    """Far away; `spread` is how soft its shadows are."""

    direction: Array
    colour: Array  # (3,)
    spread: float


class Lights(NamedTuple):
    """Direct lights, and the light from everywhere."""

    direct: list[Light]
    ambient: Array  # (3,)
    up: Array


def build_stage(
    person: Mesh, person_mm: Array32, room: RoomMesh, rotation: Array, floor_mm: Array, look: Look
) -> Stage:  # fmt: skip
    """The person's vertices are in camera axes; the room turned by `rotation` stands with its origin at `floor_mm`."""
    room_mm = (room.points_mm @ rotation.T + floor_mm).astype(np.float32)
    points = np.concatenate([person_mm, room_mm])
    faces = np.concatenate([person.faces, room.faces + len(person_mm)]).astype(np.int32)
    room_numbers = (room.faces + len(person_mm)).astype(object)
    embree = _embree_scene(points.astype(object), np.concatenate([person.face_numbers, room_numbers]))
    flat = np.zeros((len(faces), 3), np.float32)
    a, b, c = (room_mm[room.faces[:, corner]] for corner in range(3))
    across = np.cross(b - a, c - a)
    flat[len(person.faces) :] = across / np.sqrt((across * across).sum(axis=1))[:, None]
    return Stage(
        embree, person.rest_mm, vertex_normals(person_mm, person.faces), person.lips, faces, flat,
        np.concatenate([person.kind.astype(np.int32), room.thing + FIRST_THING]), look, room,
        rotation.astype(np.float32), floor_mm.astype(np.float32),
    )  # fmt: skip


def _embree_scene(points_mm: NDArray[np.object_], faces: NDArray[np.object_]) -> Any:
    """Of vertices (V, 3) and triangles (F, 3) in Python's numbers, which embreex reads faster than NumPy's."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, points_mm, faces)
    return scene


def draw_lights(rng: np.random.Generator, up: Array) -> Lights:
    """A strong light, a weaker one, at times a third; warm or cold; up (3,) in camera axes, whose z points away."""
    away = np.array([0.0, 0.0, 1.0])
    side = unit(np.cross(up, away))
    direct = []
    for strength in (
        rng.uniform(0.5, 1.3),
        rng.uniform(0.1, 0.5),
        *([rng.uniform(0.1, 0.5)] if rng.random() < 0.4 else []),
    ):
        direction = up * rng.uniform(0.15, 1.2) + side * rng.normal(0, 0.8) - away * rng.normal(0.35, 0.6)
        warm = rng.normal(0, 0.12)
        direct.append(
            Light(unit(direction), strength * np.array([1 + warm, 1.0, 1 - warm]), float(rng.uniform(0.01, 0.12)))
        )
    warm = rng.normal(0, 0.08)
    return Lights(direct, rng.uniform(0.25, 0.7) * np.array([1 + warm, 1, 1 - warm]), up)


class Surface(NamedTuple):
    """What rays met; rows are the rays that met something."""

    hit: NDArray[np.intp]  # which rays
    ray: Array32  # (n, 3)
    kind: NDArray[np.int32]
    depth_mm: Array32
    start_mm: Array32  # (n, 3) just off the surface
    normal: Array32  # (n, 3)
    rest_mm: Array32
    lips: Array32

    def rows(self, chosen: NDArray[np.intp]) -> "Surface":
        """Some of them."""
        return self._replace(**{name: column.take(chosen, axis=0) for name, column in self._asdict().items()})


def meet(stage: Stage, rays: Array32) -> Surface:
    """Rays (N, 3) from the camera, z = 1."""
    hits = stage.embree.run(np.zeros_like(rays), rays, output=True)
    face = np.asarray(hits["primID"])
    hit = np.flatnonzero(face >= 0)
    of = face.take(hit)
    kind, ray = stage.kind.take(of), rays.take(hit, axis=0)
    depth = np.asarray(hits["tfar"]).take(hit).astype(np.float32)
    place = scaled(ray, depth)
    rest: Array32 = (moved(place, -stage.floor_mm) @ stage.rotation).astype(np.float32)  # of things
    normal = stage.face_normals.take(of, axis=0)
    lips = np.zeros(len(hit), np.float32)
    person = np.flatnonzero(kind < FIRST_THING)
    corners = stage.faces.take(of.take(person), axis=0)
    u, v = (np.asarray(hits[name]).take(hit.take(person)).astype(np.float32) for name in "uv")
    shares = (1 - u - v, u, v)
    rest[person], smooth = (
        scaled(values.take(corners[:, 0], axis=0), shares[0])
        + scaled(values.take(corners[:, 1], axis=0), shares[1])
        + scaled(values.take(corners[:, 2], axis=0), shares[2])
        for values in (stage.rest_mm, stage.normals)
    )
    lips[person] = sum(share * stage.lips.take(corners[:, i]) for i, share in enumerate(shares))
    normal[person] = over(smooth, np.maximum(np.sqrt(dots(smooth, smooth)), 1e-6))
    normal = scaled(normal, np.where(dots(normal, ray) > 0, np.float32(-1), np.float32(1)))
    return Surface(hit, ray, kind, depth, place + normal * np.float32(LIFT_MM), normal, rest, lips)


def shade(stage: Stage, surface: Surface, openness: Array32, seen: Array32, lights: Lights) -> Array32:
    """(n, 3) linear light; `openness` (n,) and `seen` (lights, n): seen shares of surroundings and lights."""
    sky = (0.65 + 0.35 * surface.normal @ lights.up.astype(np.float32)) * openness
    light = scaled(lights.ambient.astype(np.float32), sky)
    glossy = np.flatnonzero((surface.kind == SKIN) | (surface.kind == SHOES))
    ray, normal = surface.ray.take(glossy, axis=0), surface.normal.take(glossy, axis=0)
    view = over(-ray, np.sqrt(dots(ray, ray)))
    shine = np.zeros_like(view)
    for number, source in enumerate(lights.direct):
        direction, colour = source.direction.astype(np.float32), source.colour.astype(np.float32)
        add_scaled(light, colour, np.maximum(surface.normal @ direction, 0) * seen[number])
        half = moved(view, direction)
        half = over(half, np.sqrt(dots(half, half)))
        facing = np.clip(dots(half, normal), 0, 1) ** 24 * seen[number].take(glossy)
        add_scaled(shine, colour, facing)
    light *= _albedo(stage, surface.kind, surface.rest_mm, surface.lips)
    light[glossy] += np.float32(0.1) * shine
    return light


def lights_seen(stage: Stage, surface: Surface, lights: Lights, rng: np.random.Generator) -> Array32:
    """(lights, n) 1 where a light reaches the surface, by one ray to some place of it."""
    seen = np.zeros((len(lights.direct), len(surface.hit)), np.float32)
    for number, source in enumerate(lights.direct):
        direction = source.direction.astype(np.float32)
        lit = np.flatnonzero(surface.normal @ direction > 0)
        towards = rng.standard_normal((len(lit), 3), dtype=np.float32) * np.float32(source.spread / 2)
        start = surface.start_mm.take(lit, axis=0)
        free = np.asarray(stage.embree.run(start, moved(towards, direction), query="OCCLUDED")) < 0
        seen[number, lit] = free
    return seen


def _albedo(stage: Stage, kind: NDArray[np.int32], rest: Array32, lips: Array32) -> Array32:
    order = np.argsort(kind.astype(np.int16), kind="stable")  # numbers of two bytes sort fastest
    rest, lips = rest.take(order, axis=0), lips.take(order)
    painted, colours = np.empty_like(rest), np.empty_like(rest)
    ends = np.cumsum(np.bincount(kind, minlength=1)).tolist()
    for value, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if start == end:
            continue
        if value >= FIRST_THING:
            painted[start:end] = paint_cloth(rest[start:end], stage.room.cloths[value - FIRST_THING], value)
        else:
            painted[start:end] = paint_person(value, rest[start:end], lips[start:end], stage.look)
    colours[order] = painted
    return colours


def openness_of(stage: Stage, surface: Surface, rng: np.random.Generator) -> Array32:
    """One ray a point into the half space over it; the average of neighbours is smooth."""
    start, normal = surface.start_mm, surface.normal
    towards = rng.standard_normal((len(start), 3), dtype=np.float32)
    towards = scaled(towards, np.float32(1) / np.sqrt(dots(towards, towards)))
    towards += normal * np.float32(1.01)
    far = np.full(len(start), OCCLUSION_REACH, np.float32)
    towards = scaled(towards, np.float32(1) / np.sqrt(dots(towards, towards)))
    blocked = np.asarray(stage.embree.run(start, towards, far, query="OCCLUDED")) >= 0
    return np.where(blocked, np.float32(0), np.float32(1))
