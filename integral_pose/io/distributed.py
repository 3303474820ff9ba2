"""The thin layer over torch.distributed: one process or many, the same calls."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from integral_pose.errors import ProcessLostError
from integral_pose.io.parallel import end_with_parent
from integral_pose.io.peer_watch import watched_peers

# How long to wait for the others to report that they too have lost a process: they notice at nearly the same moment.
ROLL_CALL_S = 3.0
SHARE_OF_WATCH = 0.8  # of the time that silence may last: NCCL ends a process at the end of it, without a word


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
def processes(
    device_type: str, timeout_s: float = 600, on_lost: Callable[[ProcessLostError], None] = lambda error: None
) -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone; leaves the group at the end.

    Inside, an exchange that fails since another process ended, or was silent for `timeout_s`, raises ProcessLostError
    with its number. Where exchanges wait outside Python (CUDA), `on_lost` is called with that error instead, and this
    process ends. A process whose launcher is killed gets a SIGTERM, so that it saves and leaves.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes()
        return
    end_with_parent(signal.SIGTERM)
    local_rank = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local_rank) if device_type == "cuda" else None
    if device:
        torch.cuda.set_device(device)
    store, rank, world = next(dist.rendezvous("env://", timeout=timedelta(seconds=timeout_s)))
    dist.init_process_group(
        "nccl" if device else "gloo", store=store, rank=rank, world_size=world, timeout=timedelta(seconds=timeout_s),
        device_id=device,  # else NCCL guesses it from the rank, at the first exchange
    )  # fmt: skip

    def end(lost: list[int]) -> None:
        on_lost(_loss(_who(lost, world, timeout_s), rank))
        os._exit(ProcessLostError.exit_code)  # the main thread cannot be woken

    silence_s = SHARE_OF_WATCH * timeout_s
    try:
        with watched_peers(store.clone(), rank, world, silence_s, end) if device else nullcontext():
            yield Processes(rank, world)
        dist.barrier()  # gloo aborts a process whose peer has left in the middle of its last exchange
    except RuntimeError as error:
        if not _is_of_exchange(error):
            raise
        who = _who(_missing(store, rank, world), world, timeout_s)
        raise _loss(who, rank, f": {str(error).splitlines()[0]}") from None
    finally:
        dist.destroy_process_group()


def _who(missing: list[int], world: int, timeout_s: float) -> str:
    if not missing:
        return "an exchange between processes failed though all of them answer"
    return f"process {', '.join(map(str, missing))} of 0..{world - 1} ended, or was silent for {timeout_s:g} s"


def _loss(who: str, rank: int, reason: str = "") -> ProcessLostError:
    return ProcessLostError(
        f"{who} (reports process {rank} on {socket.gethostname()}{reason}). Its own messages, if any, stand above. The "
        "same command continues from the last checkpoint; trainer.process_timeout_s sets how long silence may last"
    )


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
