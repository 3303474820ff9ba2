"""How far a mean would move with other recordings: bootstrap intervals over sequences.

Neighbouring frames, and the cameras that saw them, are nearly the same sample. So whole sequences are resampled,
with replacement, and every frame of a drawn sequence counts (the cluster bootstrap, Davison & Hinkley 1997, 3.8).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 4000
LEVEL = 0.95
_NUMBERS_AT_ONCE = 4_000_000


class Estimate(NamedTuple):
    """A mean and the bounds between which it lies in LEVEL of the redrawn sets; None where nothing can be redrawn."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def bounds(self) -> list[float] | None:
        """[low, high]."""
        return None if self.low is None or self.high is None else [self.low, self.high]

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is more than chance, at LEVEL."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def sequence_interval(
    values: ArrayLike, sequences: Sequence[str], weights: ArrayLike = 1.0, *, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """Of the mean over N frames, values (N,), each of the sequence of that name; `sequences` are empty where unknown.

    `weights` (N,) are what each frame counts, where some have fewer labels. Without bounds where there are fewer than
    two sequences, which give no spread.
    """
    values = np.asarray(values, dtype=np.float64)
    counts = np.broadcast_to(np.asarray(weights, dtype=np.float64), values.shape)
    mean = float((values * counts).sum() / counts.sum())
    if sequences and values.shape != (len(sequences),):
        raise ValueError(f"expected one value a frame, found {values.shape} for {len(sequences)} frames")
    names, group = np.unique(np.asarray(sequences), return_inverse=True)
    if len(names) < 2:
        return Estimate(mean)
    sums, totals = np.bincount(group, weights=values * counts), np.bincount(group, weights=counts)
    means = _redrawn_means(sums, totals, draws, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean, float(low), float(high))


def paired_interval(
    first: ArrayLike, second: ArrayLike, sequences: Sequence[str], weights: ArrayLike = 1.0
) -> Estimate:
    """Of the mean of `second - first`, both (N,) on the same frames: negative where the second is smaller.

    Much narrower than the two intervals apart, since hard frames are hard for both.
    """
    return sequence_interval(np.asarray(second, np.float64) - np.asarray(first, np.float64), sequences, weights)


def _redrawn_means(
    sums: NDArray[Any], counts: NDArray[Any], draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    num_sequences, at_once = len(sums), max(1, _NUMBERS_AT_ONCE // len(sums))
    means = []
    for start in range(0, draws, at_once):
        drawn = rng.integers(num_sequences, size=(min(at_once, draws - start), num_sequences))
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    return np.concatenate(means)
