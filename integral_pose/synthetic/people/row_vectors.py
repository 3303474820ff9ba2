"""Many vectors (N, 3), a column at a time: loops over the three numbers of a row take NumPy up to ten times as long.

To the last bit these are the expressions that their docstrings name.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating[Any]]


def dots(a: Rows, b: Rows) -> Rows:
    """(a * b).sum(axis=1) of (N, 3) and (N, 3)."""
    out: Rows = a[:, 0] * b[:, 0]
    out += a[:, 1] * b[:, 1]
    out += a[:, 2] * b[:, 2]
    return out


def scaled(vectors: Rows, factor: Rows) -> Rows:
    """vectors * factor[:, None] of (N, 3) or one (3,), and (N,)."""
    out = np.empty((len(factor), 3), np.result_type(vectors, factor))
    for axis in range(3):
        np.multiply(vectors[..., axis], factor, out=out[:, axis])
    return out


def over(vectors: Rows, divisor: Rows) -> Rows:
    """vectors / divisor[:, None] of (N, 3) and (N,)."""
    out = np.empty(vectors.shape, np.result_type(vectors, divisor))
    for axis in range(3):
        np.divide(vectors[:, axis], divisor, out=out[:, axis])
    return out


def moved(vectors: Rows, shift: Rows) -> Rows:
    """vectors + shift of (N, 3) and (3,)."""
    out = np.empty(vectors.shape, np.result_type(vectors, shift))
    for axis in range(3):
        np.add(vectors[:, axis], shift[axis], out=out[:, axis])
    return out


def add_scaled(total: Rows, row: Rows, factor: Rows) -> None:
    """total += factor[:, None] * row of (N, 3), (3,) and (N,)."""
    for axis in range(3):
        total[:, axis] += row[axis] * factor
