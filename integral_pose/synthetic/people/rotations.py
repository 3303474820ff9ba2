"""Rotations as (3, 3) matrices with axes as columns."""

import math

import numpy as np

from integral_pose.contracts import Array

IDENTITY = np.eye(3)


def unit(vector: Array) -> Array:
    """The vector at length 1; a vector of no length gives NaN."""
    return vector / math.sqrt(vector @ vector)


def across(vector: Array, axis: Array) -> Array:
    """The part of `vector` at right angles to the unit vector `axis`."""
    return vector - axis * (vector @ axis)


def cross(a: Array, b: Array) -> Array:
    """np.cross takes ten times as long for a single pair."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def frame(first: Array, near_second: Array) -> Array:
    """Columns: `first`, the unit vector nearest to the second at right angles to it, and their cross product."""
    columns = np.empty((3, 3))
    columns[:, 0] = x = unit(first)
    columns[:, 1] = y = unit(across(near_second, x))
    columns[:, 2] = cross(x, y)
    return columns


def turn_about(axis: Array, angle: float) -> Array:
    """Rotation about a unit vector, radians."""
    x, y, z = axis * math.sin(angle)
    c = 1 - math.cos(angle)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    outer: Array = c * (axis[:, None] * axis)
    return outer + (1 - c) * IDENTITY + skew


def axis_and_angle(rotation: Array) -> tuple[Array, float]:
    """The unit vector and the angle in 0..pi that a rotation turns about and by."""
    (_, xy, xz), (yx, _, yz), (zx, zy, _) = rotation.tolist()
    twice_sine = np.array([zy - yz, xz - zx, yx - xy])
    length = math.sqrt(twice_sine @ twice_sine)
    angle = math.atan2(length, float(np.trace(rotation)) - 1)
    if length > 1e-6:
        return twice_sine / length, angle
    if angle < 1:
        return np.array([1.0, 0, 0]), 0.0
    column = int(np.argmax(np.diag(rotation)))
    return unit((rotation + IDENTITY)[:, column]), angle


def between(start: Array, end: Array, share: float, limit: float = math.pi) -> Array:
    """That share of the way from one rotation to another, of which no more than `limit` radians are gone."""
    axis, angle = axis_and_angle(start.T @ end)
    return start @ turn_about(axis, share * min(angle, limit))


def shortest(start: Array, end: Array) -> Array:
    """The smallest rotation that takes the direction of one vector to that of another."""
    a, b = unit(start), unit(end)
    axis = cross(a, b)
    length = math.sqrt(axis @ axis)
    if length < 1e-9:
        return np.eye(3) if a @ b > 0 else turn_about(unit(across(np.array([a[1], a[2], a[0]]) + 0.1, a)), math.pi)
    return turn_about(axis / length, math.atan2(length, float(a @ b)))
