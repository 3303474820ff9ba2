"""The fast forms give the bits of the plain expressions: rendered pictures are the same to the last byte."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from integral_pose.synthetic.people import materials
from integral_pose.synthetic.people.materials import NOISE_BLOCK, NOISE_NODES, noise
from integral_pose.synthetic.people.row_vectors import add_scaled, dots, moved, over, scaled

Rows = NDArray[np.float32]


@pytest.mark.parametrize("count", [0, 1, 5, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_of_the_plain_expressions(count: int, dtype: type) -> None:
    rng = np.random.default_rng(count)
    a, b = (rng.normal(size=(count, 3)).astype(np.float32) * np.float32(1000) for _ in range(2))
    factor, row = rng.normal(size=count).astype(dtype), rng.normal(size=3).astype(np.float32)
    total = a.copy()
    add_scaled(total, row, factor.astype(np.float32))
    for fast, plain in (
        (dots(a, b), (a * b).sum(axis=1)),
        (scaled(a, factor), a * factor[:, None]),
        (scaled(row, factor), row * factor[:, None]),
        (over(a, factor), a / factor[:, None]),
        (moved(a, row), a + row),
        (total, a + factor.astype(np.float32)[:, None] * row),
    ):
        assert fast.dtype == plain.dtype
        np.testing.assert_array_equal(fast, plain)


def plain_noise(place: Rows, size_mm: float, seed: int) -> Rows:
    """Between eight nodes each, one after the other."""
    table = np.random.default_rng(2).random((NOISE_NODES,) * 3, dtype=np.float32)
    at = place * np.float32(1 / size_mm) + np.float32(seed % 97)
    node = np.floor(at).astype(np.int32)
    share = at - node
    share = share * (share * (3 - 2 * share))
    total = np.zeros(len(place), np.float32)
    for i in (0, 1):
        for j in (0, 1):
            x, y, z = (node + np.array([i, j, 0])).T % NOISE_NODES
            weight = [1 - share[:, 0], share[:, 0]][i] * [1 - share[:, 1], share[:, 1]][j]
            low, high = table[x, y, z], table[x, y, (z + 1) % NOISE_NODES]
            total += weight * (low + share[:, 2] * (high - low))
    return total


@pytest.mark.parametrize("count", [0, 3, 500])
def test_noise_is_the_plain_one_whatever_the_block(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    place = np.random.default_rng(1).normal(0, 3000, (count, 3)).astype(np.float32)
    expected = plain_noise(place, 60.0, 5)
    np.testing.assert_array_equal(noise(place, 60.0, 5), expected)
    monkeypatch.setattr(materials, "NOISE_BLOCK", 7)
    np.testing.assert_array_equal(noise(place, 60.0, 5), expected)
    assert NOISE_NODES & (NOISE_NODES - 1) == 0 < NOISE_BLOCK
    assert count == 0 or 0 < expected.min() < expected.max() < 1
