"""Steps whose loss or gradient is not finite: left out, counted, described, and in the end a reason to stop."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from integral_pose.contracts import TrainingBatch
from integral_pose.errors import NonFiniteLossError
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.distributed import Processes
from integral_pose.io.notices import notify
from integral_pose.training.plan import Batches
from integral_pose.training.state import SkippedSteps, TrainingState

MAX_IN_A_ROW = 20
MAX_SHARE = 0.01
STEPS_FOR_A_SHARE = 500  # of fewer steps a share says nothing
MAX_DESCRIBED = 20  # a file each
MAX_UNREAD = 50  # steps whose flags wait on the device


class StepRecord(NamedTuple):
    """A step of which is not known yet whether it was skipped."""

    step: int
    epoch: int
    number: int  # of its batch in the epoch, which is made anew where it is described: fifty would fill a device
    values: Mapping[str, Tensor]
    skipped: Tensor


class NonFiniteSteps:
    """Counts and describes skipped steps, some at a time, since each reading waits for the device."""

    def __init__(self, state: TrainingState, processes: Processes, folder: Path, batches: Batches) -> None:
        self._state, self._processes, self._folder, self._batches = state, processes, folder, batches
        self._unread: list[StepRecord] = []

    def add(self, record: StepRecord) -> None:
        """One more step; at the same places in every process."""
        self._unread.append(record)
        if len(self._unread) >= MAX_UNREAD or record.skipped.device.type == "cpu":  # nothing to wait for there
            self.read()

    def read(self) -> None:
        """Count and describe what was skipped. Raises NonFiniteLossError where that was too much."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        flags = torch.stack([record.skipped for record in unread]).tolist()
        for record, skipped in zip(unread, flags, strict=True):
            self._state.skipped.add(skipped)
            if not skipped:
                continue
            reason = reason_to_stop(self._state.skipped, record.step)
            if reason or self._state.skipped.total <= MAX_DESCRIBED:
                self._describe(record, unread[-1].step)
            if reason:
                raise NonFiniteLossError(self._message(record, reason))

    def _describe(self, record: StepRecord, read_after_step: int) -> None:
        """Write nonfinite_step_N.json, of the shares of all processes."""
        parts = self._processes.gather(self._share(record))
        if not self._processes.is_first:
            return
        path = self._folder / f"nonfinite_step_{record.step}.json"
        content = {
            "step": record.step,
            "meaning": "the loss or its gradient was not finite, so the step changed nothing; 'output' is what the "
            f"network gives for each sample with the weights after step {read_after_step}",
            "processes": parts,
        }
        where = f"see {path}"
        try:
            write_text_atomic(path, json.dumps(content, indent=1) + "\n")
        except OSError as error:
            where = f"{path.name} cannot be written: {error}"
        notify(f"step {record.step}: skipped, its loss or gradient is not finite; {where}")

    def _share(self, record: StepRecord) -> dict[str, Any]:
        samples = [
            {
                "name": self._batches.name(row),
                "image": _statistics(source.images[at]),
                "joints_camera_mm": _statistics(source.joints_camera_mm[at]),
                "output": {name: _statistics(values[at]) for name, values in own.tensors().items()},
            }
            for part, output in self._state.train_step.repeat_forward(self._batch(record))
            for source, own in zip(part.sources, output.split([len(each) for each in part.sources]), strict=True)
            for at, row in enumerate(source.indices.tolist())
        ]
        terms = {name: _plain(value.item()) for name, value in record.values.items()}
        return {"rank": self._processes.rank, "terms": terms, "samples": samples}

    def _batch(self, record: StepRecord) -> TrainingBatch:
        return self._batches.again(record.epoch, record.number).to(self._state.train_step.device)

    def _message(self, record: StepRecord, reason: str) -> str:
        terms = ", ".join(f"{name} {value.item():g}" for name, value in record.values.items())
        samples = ", ".join(self._batches.name(row) for row in self._batch(record).indices.tolist())
        return (
            f"step {record.step}: the loss or its gradient is not finite ({terms}). {reason} were so and were skipped, "
            f"which changed no weights; {self._folder}/nonfinite_step_*.json describe them. Take a lower "
            f"learning rate or a lower trainer.clip_gradient, or look at the samples: {samples}"
        )


def reason_to_stop(skipped: SkippedSteps, step: int) -> str | None:
    """Why a run that has made `step` steps must not go on; None where it may."""
    if skipped.in_a_row >= MAX_IN_A_ROW:
        return f"{skipped.in_a_row} steps in a row"
    if step >= STEPS_FOR_A_SHARE and skipped.total > MAX_SHARE * step:
        return f"{skipped.total} of {step} steps, more than {MAX_SHARE:.0%},"
    return None


def _statistics(values: Tensor) -> dict[str, Any]:
    """Smallest, largest and mean of what is finite, and how many numbers are not."""
    values = values.float()
    finite = values[torch.isfinite(values)]
    found = {"min": finite.min(), "max": finite.max(), "mean": finite.mean()} if finite.numel() else {}
    return {**{name: value.item() for name, value in found.items()}, "not_finite": values.numel() - finite.numel()}


def _plain(number: float) -> float | str:
    """JSON has no word for NaN."""
    return number if math.isfinite(number) else str(number)
