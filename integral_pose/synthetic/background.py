"""Wall, floor and clutter behind the person, different in every picture."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.synthetic.pose_parts import Random
from integral_pose.synthetic.ray_casting import Array32

SHADOW_SIZE = 1024


def paint_background(
    rays: Array32, floor_normal: Array, floor_mm: float, wall_mm: float, rng: Random, clutter: int
) -> Array32:
    """(3, H, W) RGB, 0..255, with `clutter` times the usual number of shapes.

    rays (2, H, W) on the plane z = 1; the floor is where floor_normal . p = floor_mm, the wall stands where
    the floor is `wall_mm` away.
    """
    height = rays.shape[1]
    down = rays[0] * np.float32(floor_normal[0]) + rays[1] * np.float32(floor_normal[1]) + np.float32(floor_normal[2])
    wall, floor = rng.uniform(30, 235, 3), rng.uniform(20, 200, 3)
    room = np.empty((3, *rays.shape[1:]), dtype=np.float32)
    room[:] = wall[:, None, None]
    _paint_rectangles(room, clutter * int(rng.integers(2, 9)), rng)
    on_floor = down > floor_mm / wall_mm
    for plane, value in zip(room, floor, strict=True):
        np.copyto(plane, np.float32(value), where=on_floor)
    _add_tiles(room, rays, down, on_floor, floor_mm, rng)
    _paint_rectangles(room, clutter * int(rng.integers(0, 4)), rng)
    row, column = (int(v) for v in rng.integers(SHADOW_SIZE - height, size=2))
    room *= _shadows()[row : row + height, column : column + height]
    return room


def _paint_rectangles(room: Array32, count: int, rng: Random) -> None:
    """Rectangles anywhere."""
    size = room.shape[1]
    for _ in range(count):
        wide, tall = (int(v) for v in rng.integers(size // 20, size // 2, 2))
        left, top = int(rng.integers(-wide // 2, size)), int(rng.integers(-tall // 2, size))
        _fill(room[:, max(top, 0) : top + tall, max(left, 0) : left + wide], size, rng)


def paint_occluder(picture: Array32, center_px: Array, rng: Random) -> None:
    """A rectangle, sides a twelfth to a fifth of the picture's, round a point (2,) of it."""
    size = picture.shape[1]
    wide, tall = (int(v) for v in rng.integers(size // 12, size // 5, 2))
    left, top = int(center_px[0]) - wide // 2, int(center_px[1]) - tall // 2
    _fill(picture[:, max(top, 0) : max(top + tall, 0), max(left, 0) : max(left + wide, 0)], size, rng)


def _fill(patch: Array32, size: int, rng: Random) -> None:
    """Plain, striped, or blotched; part of a picture of `size` px."""
    colour = rng.uniform(10, 245, (3, 1, 1)).astype(np.float32)
    kind, step = int(rng.integers(4)), int(rng.integers(4, 24))
    if kind < 2:
        patch[:] = colour
    elif kind == 2:
        stripes = patch[:, :, ::step] if rng.random() < 0.5 else patch[:, ::step]
        patch *= 0.7
        stripes[:] = colour
    else:
        coarse = rng.uniform(0.4, 1.2, (8, 8)).astype(np.float32)
        blotches = np.repeat(np.repeat(coarse, -(-size // 8), axis=0), -(-size // 8), axis=1)
        patch[:] = colour * blotches[: patch.shape[1], : patch.shape[2]]


def _add_tiles(
    room: Array32, rays: Array32, down: Array32, on_floor: NDArray[np.bool_], floor_mm: float, rng: Random
) -> None:
    """Boards or tiles on every third floor."""
    if rng.random() > 0.33:
        return
    width_mm, gain = rng.uniform(150, 700), rng.uniform(0.6, 0.9)
    depth = np.float32(floor_mm / width_mm) / np.where(on_floor, down, np.float32(1))  # in tiles
    odd = np.floor(rays[0] * depth)
    if rng.random() < 0.5:
        odd += np.floor(depth)
    room *= np.where(on_floor & (odd % 2 == 1), np.float32(gain), np.float32(1))


@cache
def _shadows() -> Array32:
    """Soft light and shade, the same for all; every picture shows another window of it."""
    coarse = np.random.default_rng(1).uniform(0.6, 1.3, (28, 28)).astype(np.float32)
    return _upsample(coarse, SHADOW_SIZE)


def _upsample(coarse: Array32, size: int) -> Array32:
    """(n, n) -> (size, size), linear between the nodes."""
    at = np.linspace(0, len(coarse) - 1.001, size, dtype=np.float32)
    node = at.astype(np.intp)
    share = at - node
    rows = coarse[node] * (1 - share)[:, None] + coarse[node + 1] * share[:, None]
    return rows.take(node, axis=1) * (1 - share) + rows.take(node + 1, axis=1) * share
