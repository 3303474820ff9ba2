"""Notices the loss of another process while the main thread waits for it outside Python, as NCCL's exchanges do.

NCCL's own watchdog ends a process without a word, so that its status would stay at "running".
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.distributed as dist

BEATS = 10  # signs of life within the time that silence may last
LONGEST_BEAT = 2  # of them between two looks; where there were more, a scheduler has suspended the job
LEFT = b"left"


@contextmanager
def watched_peers(
    store: dist.Store, rank: int, world: int, silence_s: float, on_lost: Callable[[list[int]], None]
) -> Iterator[None]:
    """Inside, a thread gives signs of life, and calls `on_lost` with the ranks that gave none for `silence_s`.

    With no ranks where the store itself is lost. A process that leaves by an error gives no more signs; the others
    wait for it in vain.
    """
    watch = _PeerWatch(store, rank, world, silence_s, on_lost)
    watch.start()
    try:
        yield
        store.set(_key(rank), LEFT.decode())
    finally:
        watch.done.set()
        watch.join()


class _PeerWatch(threading.Thread):
    def __init__(
        self, store: dist.Store, rank: int, world: int, silence_s: float, on_lost: Callable[[list[int]], None]
    ) -> None:
        super().__init__(name="peer watch", daemon=True)
        self._store, self._rank, self._silence_s, self._on_lost = store, rank, silence_s, on_lost
        self._looked_at = time.monotonic()
        self._seen = {other: (b"", self._looked_at) for other in range(world) if other != rank}
        self.done = threading.Event()

    def run(self) -> None:
        """Until `done`, or until a process is lost."""
        beats = 0
        while not self.done.wait(self._silence_s / BEATS):
            beats += 1
            try:
                self._store.set(_key(self._rank), str(beats))
                lost = self._silent()
            except RuntimeError:
                lost = []
            else:
                if not lost:
                    continue
            if not self.done.is_set():
                self._on_lost(lost)
            return

    def _silent(self) -> list[int]:
        """Ranks without a new sign of life for too long, in which this process was not stopped as a whole."""
        now = time.monotonic()
        stopped_s = max(0.0, now - self._looked_at - LONGEST_BEAT * self._silence_s / BEATS)
        self._looked_at = now
        for other, (before, since) in self._seen.items():
            sign = self._store.get(_key(other)) if self._store.check([_key(other)]) else b""
            is_alive = sign not in (before, b"") or sign == LEFT
            self._seen[other] = (sign, now) if is_alive else (before, since + stopped_s)
        return [other for other, (_, since) in self._seen.items() if now - since > self._silence_s]


def _key(rank: int) -> str:
    return f"alive/{rank}"
