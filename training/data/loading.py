"""Datasets to batches, with worker processes that draw the same random numbers in every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import torch
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from .collate import COLLATE_FUNCTIONS, join
from .dataset import PoseDataset
from .samples import Batch, Sample

Collate = Callable[[list[Sample]], Batch]


def build_dataloader(
    dataset: PoseDataset,
    *,
    batch_size: int,
    shuffle: bool,
    workers: int = 0,
    pin_memory: bool = False,
    collate: Mapping[str, Any] | Collate | None = None,
    seed: int = 0,
) -> DataLoader[Sample]:
    """A loader that gives a :class:`Batch` at a time.

    Where ``torch.distributed`` is initialised, each process gets its part of the dataset;
    :func:`start_epoch` then has to be called before each epoch.

    Args:
        dataset: the samples.
        batch_size: samples in a batch; the last one may have less.
        shuffle: draw a new order in each epoch.
        workers: processes that load, kept from epoch to epoch; 0 loads in this one.
        pin_memory: for a GPU.
        collate: how samples are joined; a function, or ``data.train.collate`` of a configuration.
        seed: of the order, and of what the transforms of the workers draw. Without workers they
            draw from torch's global generator.

    Raises:
        ConfigError: ``collate`` names no collate function, or has keys that it does not know.
    """
    if isinstance(collate, Mapping):
        collate = COLLATE_FUNCTIONS.build(collate)
    generator = torch.Generator().manual_seed(seed + _rank())
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=_sampler(dataset, shuffle, seed, generator),
        num_workers=workers,
        pin_memory=pin_memory,
        collate_fn=collate or join,
        worker_init_fn=_start_worker,
        generator=generator,
        persistent_workers=workers > 0,
    )


def start_epoch(loader: DataLoader[Sample], epoch: int) -> None:
    """Give the processes of a distributed training the same new order; nothing for one process."""
    if isinstance(loader.sampler, DistributedSampler):
        loader.sampler.set_epoch(epoch)


def _sampler(
    dataset: PoseDataset, shuffle: bool, seed: int, generator: torch.Generator
) -> Sampler[int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return DistributedSampler(dataset, shuffle=shuffle, seed=seed)
    if shuffle:
        return RandomSampler(dataset, generator=generator)
    return SequentialSampler(dataset)


def _rank() -> int:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return 0


def _start_worker(number: int) -> None:
    """Torch gives each worker one thread and seeds random, numpy and itself; OpenCV is left to us.
    It would start threads of its own in every worker."""
    cv2.setNumThreads(0)
    cv2.setRNGSeed(torch.initial_seed() % 2**31)
