"""Steps whose loss or gradient is no number: left out, counted, described, and in the end a reason to stop."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from integral_pose.contracts import PoseBatch
from integral_pose.errors import NonFiniteLossError
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.distributed import Processes
from integral_pose.training.step import TrainStep

MOST_IN_A_ROW = 20
LARGEST_SHARE = 0.01
STEPS_FOR_A_SHARE = 500  # of fewer steps a share says nothing
MOST_DESCRIBED = 20  # a file each
MOST_UNREAD = 50  # batches that wait to be described, on the device


class SkippedSteps:
    """How many steps of a run were left out. Its state goes into the checkpoint."""

    def __init__(self, total: int = 0, in_a_row: int = 0) -> None:
        self.total, self.in_a_row = total, in_a_row

    def add(self, skipped: bool) -> None:
        """One more step."""
        self.total += skipped
        self.in_a_row = self.in_a_row + 1 if skipped else 0

    def reason_to_stop(self, step: int) -> str | None:
        """Why a run that has made `step` steps must not go on; None where it may."""
        if self.in_a_row >= MOST_IN_A_ROW:
            return f"{self.in_a_row} steps in a row"
        if step >= STEPS_FOR_A_SHARE and self.total > LARGEST_SHARE * step:
            return f"{self.total} of {step} steps, more than {LARGEST_SHARE:.0%},"
        return None

    def state(self) -> dict[str, int]:
        """Plain content."""
        return {"total": self.total, "in_a_row": self.in_a_row}


class Made(NamedTuple):
    """A step of which nobody has asked yet whether it was skipped."""

    step: int
    batch: PoseBatch
    values: Mapping[str, Tensor]
    skipped: Tensor


class NonFiniteWatch:
    """Reads now and then which steps were skipped, since each reading waits for the device."""

    def __init__(self, train_step: TrainStep, processes: Processes, folder: Path, name: Callable[[int], str]) -> None:
        self.skipped = SkippedSteps()
        self._train_step, self._processes, self._folder, self._name = train_step, processes, folder, name
        self._unread: list[Made] = []

    def add(self, made: Made) -> None:
        """One more step; at the same places in every process."""
        self._unread.append(made)
        if len(self._unread) >= MOST_UNREAD or self._train_step.device.type == "cpu":  # nothing to wait for there
            self.read()

    def read(self) -> None:
        """Count and describe what was skipped. Raises NonFiniteLossError where that was too much."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        flags = torch.stack([made.skipped for made in unread]).tolist()
        for made, skipped in zip(unread, flags, strict=True):
            self.skipped.add(skipped)
            if not skipped:
                continue
            reason = self.skipped.reason_to_stop(made.step)
            if reason or self.skipped.total <= MOST_DESCRIBED:
                self._describe(made, unread[-1].step)
            if reason:
                raise NonFiniteLossError(self._message(made, reason))

    def _describe(self, made: Made, read_after_step: int) -> None:
        """Write nonfinite_step_N.json, of the shares of all processes."""
        parts = self._processes.gather(self._share(made))
        if not self._processes.is_first:
            return
        path = self._folder / f"nonfinite_step_{made.step}.json"
        content = {
            "step": made.step,
            "meaning": "the loss or its gradient was not finite, so the step changed nothing; 'output' is the "
            f"network's for each sample when it was run again, with the weights after step {read_after_step}",
            "processes": parts,
        }
        write_text_atomic(path, json.dumps(content, indent=1) + "\n")
        tqdm.write(f"step {made.step}: skipped, its loss or gradient is not finite; see {path}", file=sys.stderr)

    def _share(self, made: Made) -> dict[str, Any]:
        samples: list[dict[str, Any]] = []
        for part, output in self._train_step.repeat_forward(made.batch):
            tensors = output.tensors()
            for at, row in enumerate(part.indices.tolist()):
                samples.append({
                    "name": self._name(row), "image": _figures(part.images[at]),
                    "joints_camera_mm": _figures(part.joints_camera_mm[at]),
                    "output": {name: _figures(values[at]) for name, values in tensors.items()},
                })  # fmt: skip
        terms = {name: _plain(value.item()) for name, value in made.values.items()}
        return {"rank": self._processes.rank, "terms": terms, "samples": samples}

    def _message(self, made: Made, reason: str) -> str:
        terms = ", ".join(f"{name} {value.item():g}" for name, value in made.values.items())
        samples = ", ".join(self._name(row) for row in made.batch.indices.tolist())
        return (
            f"step {made.step}: the loss or its gradient is not finite ({terms}). {reason} were so and were skipped, "
            f"which changed no weights; {self._folder}/nonfinite_step_*.json say what was seen. Take a lower "
            f"learning rate or a lower trainer.clip_gradient, or look at the samples: {samples}"
        )


def _figures(values: Tensor) -> dict[str, Any]:
    """Smallest, largest and mean of what is finite, and how many numbers are not."""
    values = values.float()
    finite = values[torch.isfinite(values)]
    found = {"min": finite.min(), "max": finite.max(), "mean": finite.mean()} if finite.numel() else {}
    return {**{name: value.item() for name, value in found.items()}, "not_finite": values.numel() - finite.numel()}


def _plain(number: float) -> float | str:
    """JSON has no word for NaN."""
    return number if math.isfinite(number) else str(number)
