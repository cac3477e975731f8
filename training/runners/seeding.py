"""Random numbers that depend on the seed, the epoch and the image, and on nothing else.

A run that goes on at epoch 20 so draws what the uninterrupted one draws there, with any number of
workers, and nothing but the seed has to be kept for that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from ..data.collate import join

SeededIndex = tuple[int, int]
"""The seed of a sample, and its place in the dataset."""


def derive_seed(*parts: int) -> int:
    """A seed of 32 bits that ``parts`` determine."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def fix_seeds(seed: int) -> None:
    """Seed Python, NumPy and torch, and let cuDNN choose reproducible algorithms, as DeepLabCut."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the CPU's random numbers start from ``seed``; afterwards they go on as before."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class SeededDataset(Dataset[tuple[int, Any]]):
    """Samples of ``dataset`` drawn from a seed of their own; made for :class:`EpochBatches`."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, index: SeededIndex) -> tuple[int, Any]:
        seed, place = index
        with seeded(seed):
            return seed, self.dataset[place]


class SeededCollate:
    """Batches of seeded samples by ``collate``, whose own random numbers follow from the first."""

    def __init__(self, collate: Callable[[list[Any]], Any] | None = None) -> None:
        self.collate = collate or join

    def __call__(self, samples: Sequence[tuple[int, Any]]) -> Any:
        """The batch of the samples without their seeds."""
        with seeded(derive_seed(samples[0][0])):
            return self.collate([sample for _, sample in samples])


class EpochBatches(Sampler[list[SeededIndex]]):
    """Batches of one epoch: every image once, in an order that seed and epoch determine.

    Several processes share each batch of ``batch_size * processes`` images; where images are left
    over, some are seen twice so that all processes do as many steps.

    Args:
        count: images.
        batch_size: of each process.
        seed: of the order.
        process: number of this process, and how many there are.
        spread_single: leave no image alone in the last batch, but share out the last two: batch
            norms learn little from one image, and cannot normalise it where it has a single cell.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        *,
        process: tuple[int, int] = (0, 1),
        spread_single: bool = False,
    ) -> None:
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.rank, self.processes = process
        self.spread_single = spread_single
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is that of ``epoch``."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._sizes())

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        shared = np.resize(order, self._own_count() * self.processes)
        own = iter(shared[self.rank :: self.processes].tolist())
        for size in self._sizes():
            yield [self._seeded(next(own)) for _ in range(size)]

    def _seeded(self, index: int) -> SeededIndex:
        return derive_seed(self.seed, self.epoch, index), index

    def _own_count(self) -> int:
        return -(-self.count // self.processes)

    def _sizes(self) -> list[int]:
        whole, rest = divmod(self._own_count(), self.batch_size)
        sizes = [self.batch_size] * whole + [rest] * (rest > 0)
        if self.spread_single and len(sizes) > 1 and rest == 1:
            together = self.batch_size + 1
            sizes[-2:] = [3] if together == 3 else [together - together // 2, together // 2]
        return sizes
