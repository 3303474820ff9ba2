"""Rounds of all candidates in turn, so that a noisy machine disturbs each of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """Times of one candidate, a round each, in seconds of the clock it was measured by."""

    seconds: list[float]

    @property
    def median_s(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.seconds)


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    device: torch.device,
    *,
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time each candidate once a round. On CUDA the device is waited for before the clock is read."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warm_up + rounds):
        for name, run in candidates.items():
            gc.collect()  # no candidate pays for what another left
            _wait(device)
            start = clock()
            run()
            _wait(device)
            if turn >= warm_up:
                times[name].append(clock() - start)
    return {name: Timing(seconds) for name, seconds in times.items()}


def median_ratio(one: Timing, other: Timing) -> float:
    """Median over the rounds of one candidate's time over the other's in the same round."""
    return statistics.median(a / b for a, b in zip(one.seconds, other.seconds, strict=True))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
