"""How batches reach a GPU: copied on a stream of their own, waited for, and kept until the step has used them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from integral_pose.contracts import PoseBatch
from integral_pose.training.prefetch import on_device


class RecordedStreams:
    """Stands for torch.cuda; notes in `events` what is asked of the streams 'copying' and 'step', in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.current = "step"
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(self, "copying"))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(self, self.current))
        monkeypatch.setattr(torch.cuda, "stream", self.entered)

    @contextmanager
    def entered(self, stream: Stream) -> Any:
        before, self.current = self.current, stream.name
        yield
        self.current = before


class Stream:
    def __init__(self, streams: RecordedStreams, name: str) -> None:
        self.streams, self.name = streams, name

    def wait_stream(self, other: Stream) -> None:
        self.streams.events.append(("waits", self.name, other.name))


class Batch:
    def __init__(self, streams: RecordedStreams, number: int) -> None:
        self.streams, self.number = streams, number

    def to(self, device: torch.device) -> Batch:
        self.streams.events.append(("copied", self.number, self.streams.current))
        return self

    def record_stream(self, stream: Stream) -> None:
        self.streams.events.append(("recorded", self.number, stream.name))


def test_the_next_batch_is_copied_during_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = RecordedStreams(monkeypatch)
    batches: Any = iter([Batch(streams, number) for number in range(3)])
    for batch in on_device(batches, torch.device("cuda", 0)):
        streams.events.append(("step", batch.number, streams.current))  # type: ignore[attr-defined]
    events = streams.events
    assert [event[1] for event in events if event[0] == "step"] == [0, 1, 2]
    for number in range(3):
        step = events.index(("step", number, "step"))
        copied = events.index(("copied", number, "copying"))
        recorded = events.index(("recorded", number, "step"))
        assert copied < recorded < step
        # The step's stream waits for the copy after it was asked for and before the batch is used.
        assert ("waits", "step", "copying") in events[copied:recorded]
        if number < 2:
            assert events.index(("copied", number + 1, "copying")) < step


def test_every_tensor_is_copied_without_waiting_and_recorded() -> None:
    class Copies(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[bool] = []

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.Tensor.to:
                self.found.append((kwargs or {}).get("non_blocking", False))
            return func(*args, **(kwargs or {}))

    batch = PoseBatch(torch.arange(2), torch.zeros(2, 3, 4, 4), torch.zeros(2, 17, 3), torch.zeros(2, 17, 2))
    with Copies() as copies:
        batch.to(torch.device("cpu"))
    assert copies.found == [True] * 4
