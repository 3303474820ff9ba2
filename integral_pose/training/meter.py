"""Running means of a logging window, kept on the device and read only when they are wanted."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Meter:
    """Sums of named scalars and of time. Its state goes into the checkpoint, so that a continued run logs alike."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count: Tensor | int = 0
        self._restart_clock()

    def add(self, values: Mapping[str, Tensor], counts: Tensor | bool = True) -> None:
        """One step's scalars, left out where `counts` is false. Every step of a window has the same names."""
        for name, value in values.items():
            value = value.detach().double()
            if isinstance(counts, Tensor):
                value = torch.where(counts, value, 0.0)
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count = self.count + counts

    def add_work(self, images: int, wait_s: float) -> None:
        """Images that were trained on, and the seconds spent waiting for them."""
        self._images += images
        self._wait_s += wait_s

    def means(self) -> dict[str, Tensor]:
        """Mean of each scalar since the last reset; NaN where no step counted."""
        return {name: total / self.count for name, total in self.sums.items()}

    def speed(self) -> dict[str, float]:
        """Images a second, and the share of the time that was spent waiting for data."""
        elapsed_s = max(time.monotonic() - self._since, 1e-9)
        return {"images_per_s": self._images / elapsed_s, "data_wait_share": self._wait_s / elapsed_s}

    def reset(self) -> None:
        """Begin a new window."""
        self.sums, self.count = {}, 0
        self._restart_clock()

    def state(self) -> dict[str, object]:
        """Plain content; the clock is not part of it."""
        return {"sums": {name: total.item() for name, total in self.sums.items()}, "count": int(self.count)}

    def restore(self, state: dict[str, object], device: torch.device) -> None:
        """Undo what came since `state`."""
        sums: dict[str, float] = state["sums"]  # type: ignore[assignment]
        self.sums = {name: torch.tensor(total, dtype=torch.float64, device=device) for name, total in sums.items()}
        self.count = int(state["count"])  # type: ignore[call-overload]
        self._restart_clock()

    @staticmethod
    def share(states: Sequence[dict[str, Any]], rank: int, world: int) -> dict[str, Any]:
        """What process `rank` of `world` goes on from: its own state, or, of another number, the mean of all."""
        if len(states) == world:
            return states[rank]
        names = states[0]["sums"]
        sums = {name: sum(state["sums"][name] for state in states) / len(states) for name in names}
        return {**states[0], "sums": sums}

    def _restart_clock(self) -> None:
        self._since, self._images, self._wait_s = time.monotonic(), 0, 0.0
