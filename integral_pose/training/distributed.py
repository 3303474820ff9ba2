"""The thin layer over torch.distributed: one process or many, the same calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = timedelta(minutes=10)  # a hung process is found after this long, not after half an hour


@dataclass(frozen=True)
class Processes:
    """This process among all that train together."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over the processes."""
        if self.world == 1:
            return values
        values = values.clone()
        dist.all_reduce(values)
        return values / self.world

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is up in any process."""
        if self.world == 1:
            return flag
        value = torch.tensor(int(flag), device=device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())

    def gather(self, part: Any) -> list[Any]:
        """The parts of all processes, in the order of their ranks, in every process."""
        if self.world == 1:
            return [part]
        parts: list[Any] = [None] * self.world
        dist.all_gather_object(parts, part)
        return parts


@contextmanager
def processes(device_type: str) -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone; leaves the group at the end."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes()
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    if device_type == "cuda":
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(dist.get_rank(), world, local_rank)
    finally:
        dist.destroy_process_group()
