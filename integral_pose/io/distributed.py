"""The thin layer over torch.distributed: one process or many, the same calls."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from integral_pose.errors import ProcessLostError
from integral_pose.io.parallel import end_with_parent

# How long to wait for the others to report that they too have lost a process: they notice at nearly the same moment.
ROLL_CALL_S = 3.0


@dataclass(frozen=True)
class Processes:
    """This process among all that train together."""

    rank: int = 0
    world: int = 1

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

    def agree(self, flag: bool, number: int, device: torch.device) -> tuple[bool, int]:
        """Whether the flag is up in any process, and the least of their numbers."""
        if self.world == 1:
            return flag, number
        values = torch.tensor([int(flag), -number], device=device)
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
        highest, least = values.tolist()
        return bool(highest), -least

    def equalise_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers: batch-norm statistics are of each process's own images."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def gather(self, part: Any) -> list[Any]:
        """The parts of all processes, in the order of their ranks, in every process."""
        if self.world == 1:
            return [part]
        parts: list[Any] = [None] * self.world
        dist.all_gather_object(parts, part)
        return parts


def true_everywhere(flag: Tensor) -> Tensor:
    """Whether a bool is true in every process of the group, without waiting for the device."""
    low = flag.float()
    dist.all_reduce(low, op=dist.ReduceOp.MIN)
    return low > 0


@contextmanager
def processes(device_type: str, timeout_s: float = 600) -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone; leaves the group at the end.

    Inside, an exchange that fails since another process ended, or was silent for `timeout_s`, raises ProcessLostError
    with its number. A process whose launcher is killed gets a SIGTERM, so that it saves and leaves.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes()
        return
    end_with_parent(signal.SIGTERM)
    local_rank = int(os.environ["LOCAL_RANK"])
    if device_type == "cuda":
        torch.cuda.set_device(local_rank)
    store, rank, world = next(dist.rendezvous("env://", timeout=timedelta(seconds=timeout_s)))
    backend = "nccl" if device_type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timedelta(seconds=timeout_s))
    try:
        yield Processes(rank, world)
        dist.barrier()  # gloo aborts a process whose peer has left in the middle of its last exchange
    except RuntimeError as error:
        if not _is_of_exchange(error):
            raise
        who = "an exchange between processes failed though all of them answer"
        if missing := _missing(store, rank, world):
            who = f"process {', '.join(map(str, missing))} of 0..{world - 1} ended, or was silent for {timeout_s:g} s"
        raise ProcessLostError(
            f"{who} (reports process {rank} on {socket.gethostname()}: {str(error).splitlines()[0]}). Its own "
            "messages, if any, stand above. The same command continues from the last checkpoint; "
            "trainer.process_timeout_s sets how long silence may last"
        ) from None
    finally:
        dist.destroy_process_group()


def _is_of_exchange(error: RuntimeError) -> bool:
    """gloo raises plain RuntimeErrors, which only their text tells from others."""
    words = ("gloo", "Connection closed by peer", "Connection reset by peer", "Timed out waiting", "Broken pipe",
             "pair closure")  # fmt: skip
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


def _missing(store: dist.Store, rank: int, world: int) -> list[int]:
    """Ranks that do not answer. Every process that lost another calls this; one that is dead or hangs does not."""
    answered = {rank}
    with suppress(RuntimeError):  # the store itself may have gone with its process
        store.set(f"here/{rank}", socket.gethostname())
        end = time.monotonic() + ROLL_CALL_S
        while len(answered) < world and time.monotonic() < end:
            answered |= {other for other in range(world) if other not in answered and store.check([f"here/{other}"])}
            time.sleep(0.05)
    return [other for other in range(world) if other not in answered]
