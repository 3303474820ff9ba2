"""Which samples a batch holds: a function of (seed, epoch) alone, whatever the number of processes."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from integral_pose.contracts import SampleKey


class BatchOrder(Sampler[list[SampleKey]]):
    """This process's share of every global batch of an epoch, from any batch on.

    Process r of R takes entries r, r + R, ... of each global batch, so that the samples of a step are the same
    for every R. With `shuffle` the last, partial batch is dropped: a step always sees as many samples.

    An epoch is one pass over the samples. With `epoch_images` it is the next so many of all passes laid end to end,
    so that every sample is seen as often as any other, whatever the length; keys then name the pass.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        rank: int,
        world: int,
        epoch_images: int | None = None,
    ) -> None:
        self.num_samples, self.batch_size, self.seed, self.shuffle = num_samples, batch_size, seed, shuffle
        self.rank, self.world, self.epoch_images = rank, world, epoch_images
        self.epoch = self.first_batch = 0

    def __len__(self) -> int:
        full = (self.epoch_images or self.num_samples) // self.batch_size
        return full if self.shuffle else -(-self.num_samples // self.batch_size)

    def order(self, number: int) -> NDArray[np.int64]:
        """The rows of pass `number` over the samples, in the order in which they are seen."""
        if not self.shuffle:
            return np.arange(self.num_samples)
        return np.random.Generator(np.random.Philox(key=[self.seed, number])).permutation(self.num_samples)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        # Without `epoch_images` the rest of a pass that fills no batch is passed over.
        length = self.num_samples if self.epoch_images is None else len(self) * self.batch_size
        end = (self.epoch + 1) * length
        keys = self._walk(self.epoch * length + self.first_batch * self.batch_size, end)
        for _ in range(self.first_batch, len(self)):
            share = list(itertools.islice(keys, self.batch_size))[self.rank :: self.world]
            if share:
                yield share

    def _walk(self, start: int, end: int) -> Iterator[SampleKey]:
        """Entries `start` to `end` of all passes laid end to end."""
        for number in range(start // self.num_samples, -(-end // self.num_samples)):
            before = number * self.num_samples
            for row in self.order(number)[max(start - before, 0) : end - before].tolist():
                yield SampleKey(number, row)
