"""Random numbers as a function of (seed, epoch, row, stream), drawn for a whole batch at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# One stream an augmenter. The numbers fix what is drawn: append new ones.
AFFINE, COLOUR, CONTRAST, BRIGHTNESS, ROTATION, FLIP, ERASE, DESATURATION, BLUR, JPEG = range(10)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def draw_uniform(seed: int, epoch: int, rows: NDArray[np.int64], stream: int, number: int) -> NDArray[np.float64]:
    """(B, number) in [0, 1): `number` draws for each row (B,).

    A row's draws depend on no other row, so they are the same in every batch and process. Constructing a generator
    for each sample would take longer than decoding its image; SplitMix64 (Steele et al. 2014) as a hash of the
    position takes microseconds a batch.
    """
    state = _mix(np.array([seed], np.uint64))
    for word in (epoch, stream):
        state = _mix(state ^ _mix(np.array([word], np.uint64)))
    state = _mix(state ^ _mix(rows.astype(np.uint64)))
    positions = np.arange(1, number + 1, dtype=np.uint64) * _GOLDEN
    return (_mix(state[:, None] + positions) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def in_range(uniform: NDArray[np.float64], bounds: Sequence[float]) -> NDArray[np.float64]:
    """[0, 1) -> [low, high)."""
    low, high = bounds
    return low + uniform * (high - low)


def integer_in_range(uniform: NDArray[np.float64], bounds: Sequence[int]) -> NDArray[np.float64]:
    """[0, 1) -> integers low .. high, both included."""
    low, high = bounds
    return low + np.floor(uniform * (high - low + 1))


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = words + _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
