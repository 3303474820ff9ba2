"""A room round a person: floor, walls, furniture and what stands before them, as triangles with a cloth each."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.synthetic.people.outfits import PATTERNS, Cloth, draw_colour
from integral_pose.synthetic.people.rotations import unit
from integral_pose.synthetic.ray_casting import Array32

BOX = np.array([[(i >> 2) & 1, (i >> 1) & 1, i & 1] for i in range(8)], np.float64)
BOX_FACES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
                      [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]], np.int32)  # fmt: skip


class Thing(NamedTuple):
    """A box or a plane; room axes (z up, origin on the floor below the hip), mm."""

    points_mm: Array  # (n, 3)
    faces: NDArray[np.int32]
    cloth: Cloth


class RoomMesh(NamedTuple):
    """All things in one; `thing` says which one each triangle belongs to."""

    points_mm: Array32
    faces: NDArray[np.int32]
    thing: NDArray[np.int32]  # (F,)
    cloths: list[Cloth]


def draw_room(
    rng: np.random.Generator, to_camera: Array, camera_mm: float, seat: str, hip_mm: float, clutter: int,
    has_walls: bool, num_occluders: int,
) -> RoomMesh:  # fmt: skip
    """`to_camera` (2,) is the direction on the floor towards the camera, `camera_mm` how far it stands."""
    things: list[Thing] = []
    if has_walls:
        things += _walls(rng, to_camera, camera_mm)
        things += [_furniture(rng, to_camera) for _ in range(int(rng.integers(1, 4 + 3 * clutter)))]
    if seat == "stool":
        things += _seat(rng, hip_mm)
    for _ in range(num_occluders):
        things.append(_occluder(rng, to_camera, camera_mm))
    if not things:
        return RoomMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, np.int32), [])
    counts = np.cumsum([0, *(len(thing.points_mm) for thing in things)])
    return RoomMesh(
        np.concatenate([thing.points_mm for thing in things]).astype(np.float32),
        np.concatenate([thing.faces + start for thing, start in zip(things, counts, strict=False)]).astype(np.int32),
        np.repeat(np.arange(len(things), dtype=np.int32), [len(thing.faces) for thing in things]),
        [thing.cloth for thing in things],
    )


def _cloth(rng: np.random.Generator, plain: float) -> Cloth:
    pattern = "plain" if rng.random() < plain else PATTERNS[int(rng.integers(1, len(PATTERNS)))]
    first = draw_colour(rng, 0.3)
    second = tuple(np.clip(np.array(first) * rng.uniform(0.5, 1.5) + rng.normal(0, 0.04, 3), 0.01, 0.98).tolist())
    return Cloth(first, second, pattern, float(np.exp(rng.uniform(4, 6.8))), float(rng.uniform(0.1, 0.6)))


def _plane(corner: Array, along: Array, up: Array, cloth: Cloth) -> Thing:
    points = np.array([corner, corner + along, corner + along + up, corner + up])
    return Thing(points, np.array([[0, 1, 2], [0, 2, 3]], np.int32), cloth)


def _walls(rng: np.random.Generator, to_camera: Array, camera_mm: float) -> list[Thing]:
    """A floor, a wall behind the person, and at times one to the side; the camera stands in the room."""
    far = 9000.0
    things = [
        _plane(np.array([-far, -far, -1.0]), np.array([2 * far, 0, 0]), np.array([0, 2 * far, 0]), _cloth(rng, 0.4))
    ]
    turn = rng.uniform(-0.7, 0.7)
    away = _turned(-to_camera, turn)
    walls = [(away, rng.uniform(500, 4000))]
    aside, distance = _turned(away, np.pi / 2 * rng.choice([-1, 1])), rng.uniform(900, 3500)
    if rng.random() < 0.6 and aside @ to_camera * camera_mm < distance - 300:
        walls.append((aside, distance))
    for normal, distance in walls:
        along = np.array([-normal[1], normal[0], 0.0])
        middle = np.array([*(normal * distance), 0.0])
        things.append(_plane(middle - along * far, along * 2 * far, np.array([0, 0, 4000.0]), _cloth(rng, 0.6)))
    normal, distance = walls[0]
    for _ in range(int(rng.integers(0, 4))):  # pictures, doors, windows
        along = np.array([-normal[1], normal[0], 0.0])
        wide, tall = rng.uniform(300, 1400), rng.uniform(300, 2000)
        at = np.array([*(normal * (distance - 12)), 0.0]) + along * rng.uniform(-2500, 2500)
        low = 0.0 if tall > 1500 else rng.uniform(600, 1500)
        things.append(_plane(at + np.array([0, 0, low]), along * wide, np.array([0, 0, tall]), _cloth(rng, 0.4)))
    return things


def _turned(direction: Array, angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * direction[0] - s * direction[1], s * direction[0] + c * direction[1]])


def _box(
    rng: np.random.Generator, middle: Array, size_mm: Array, plain: float = 0.6, turn: float | None = None
) -> Thing:
    """Standing on the height middle[2]."""
    points = (BOX - (0.5, 0.5, 0)) * size_mm
    angle = rng.uniform(0, np.pi) if turn is None else turn
    c, s = np.cos(angle), np.sin(angle)
    points = points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + middle
    return Thing(points, BOX_FACES, _cloth(rng, plain))


def _furniture(rng: np.random.Generator, to_camera: Array) -> Thing:
    """Beside or behind the person."""
    direction = _turned(-to_camera, rng.uniform(-1.9, 1.9))
    size = rng.uniform((250, 250, 200), (1400, 700, 2000))
    away = rng.uniform(700, 3200) + size[:2].max() / 2
    return _box(rng, np.array([*(direction * away), 0.0]), size)


def _seat(rng: np.random.Generator, hip_mm: float) -> list[Thing]:
    """A box or a chair under the hip, which is that high over the floor."""
    top = max(hip_mm - 95.0, 60.0)
    size = rng.uniform((340, 340, 40), (520, 520, 90))
    seat = _box(rng, np.array([-20.0, 0, top - size[2]]), size)
    if rng.random() < 0.4:
        return [_box(rng, np.array([-20.0, 0, 0]), np.array([size[0], size[1], top]))]
    legs = [_box(rng, np.array([-20.0 + x * 150, y * 150, 0]), np.array([35, 35, top - size[2]]), 1.0)
            for x in (-1, 1) for y in (-1, 1)]  # fmt: skip
    return [seat, *(leg._replace(cloth=legs[0].cloth) for leg in legs)]


def _occluder(rng: np.random.Generator, to_camera: Array, camera_mm: float) -> Thing:
    """Between person and camera: low and wide, or narrow and tall, or hanging in the air."""
    direction = _turned(to_camera, rng.normal(0, 0.25))
    away = rng.uniform(450, max(500.0, min(0.5 * camera_mm, 1600)))
    kind = int(rng.integers(3))
    size = (rng.uniform((500, 200, 300), (1500, 600, 900)), rng.uniform((60, 60, 900), (300, 300, 2100)),
            rng.uniform((100, 60, 100), (450, 200, 450)))[kind]  # fmt: skip
    low = rng.uniform(200, 1500) if kind == 2 else 0.0
    aside = np.array([-direction[1], direction[0]]) * rng.normal(0, 250)
    turn = float(np.arctan2(direction[1], direction[0]) + np.pi / 2 + rng.normal(0, 0.4))
    return _box(rng, np.array([*(direction * away + aside), low]), size, 0.5, turn)


def horizontal(direction: Array) -> Array:
    """The first two of three components, at length 1."""
    return unit(direction[:2])
