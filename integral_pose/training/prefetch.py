"""Batches on the device before they are needed, and how long they were waited for."""

import time
from collections.abc import Iterator

import torch

from integral_pose.contracts import TrainingBatch


def on_device(batches: Iterator[TrainingBatch], device: torch.device) -> Iterator[TrainingBatch]:
    """The same batches on `device`; on CUDA the next one is copied on a stream of its own during the step."""
    if device.type != "cuda":
        yield from (batch.to(device) for batch in batches)
        return
    copying = torch.cuda.Stream(device)
    waiting: TrainingBatch | None = None
    for batch in batches:
        with torch.cuda.stream(copying):
            copied = batch.to(device)
        if waiting is not None:
            yield waiting
        torch.cuda.current_stream(device).wait_stream(copying)
        copied.record_stream(torch.cuda.current_stream(device))
        waiting = copied
    if waiting is not None:
        yield waiting


def timed(batches: Iterator[TrainingBatch]) -> Iterator[tuple[TrainingBatch, float]]:
    """Each batch with the seconds that it was waited for."""
    since = time.monotonic()
    for batch in batches:
        yield batch, time.monotonic() - since
        since = time.monotonic()
