"""A request to stop, shared by all processes of a run."""

import math
import time

import torch

from integral_pose.io.distributed import Processes
from integral_pose.runs.stop import StopSignal

SECONDS_BETWEEN_EXCHANGES = 1.0


class SaveTimer:
    """True once `seconds` have passed since the last save; never for None."""

    name = "trainer.checkpoint_every"

    def __init__(self, seconds: float | None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self.restart()

    def restart(self) -> None:
        """Something was saved."""
        self._since = time.monotonic()

    def __bool__(self) -> bool:
        return time.monotonic() - self._since >= self._seconds


class SharedStop:
    """Whether any process was asked to stop. With several they exchange it, and not so often that steps get slower."""

    def __init__(self, stop: StopSignal | SaveTimer, processes: Processes, device: torch.device) -> None:
        self._stop, self._processes, self._device = stop, processes, device
        self._next_step = self._last_step = 0
        self._exchanged_at = time.monotonic()

    @property
    def reason(self) -> str:
        """What asked for it."""
        return self._stop.name or "a signal to another process"

    def is_asked(self, step: int, *, now: bool = False) -> bool:
        """The same answer in every process, which all call this after the same steps.

        False before the next exchange is due, unless it must be `now`.
        """
        if self._processes.world > 1 and step < self._next_step and not now:
            return False
        steps_a_second = (step - self._last_step) / max(time.monotonic() - self._exchanged_at, 1e-6)
        wait = max(1, int(steps_a_second * SECONDS_BETWEEN_EXCHANGES))
        asked, wait = self._processes.agree(bool(self._stop), wait, self._device)
        self._last_step, self._next_step, self._exchanged_at = step, step + wait, time.monotonic()
        return asked
