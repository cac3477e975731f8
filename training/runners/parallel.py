"""Training on several GPUs, or in several processes that torchrun starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that train one model together.

    Attributes:
        rank: number of this one; only 0 writes files.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def current(cls) -> Processes:
        """Those of the process group, or this one alone."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def writes(self) -> bool:
        """Whether this one writes files and tells the user."""
        return self.rank == 0

    def gather(self, value: Value) -> list[Value]:
        """The ``value`` of every process, in all of them."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def from_first(self, value: Value) -> Value:
        """The ``value`` of process 0, in all of them."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]


@contextmanager
def process_group(device: str, gpus: Sequence[int] | None = None) -> Iterator[str]:
    """Join the processes that torchrun started; gives the device of this one.

    Without torchrun (its ``WORLD_SIZE``), or where the caller made the group, nothing happens.

    Args:
        device: of a single process.
        gpus: those that the processes of this machine take, in their order; by default the first.
    """
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not started or distributed.is_initialized():
        yield device
        return
    gpu = torch.device(device).type == "cuda"
    if gpu:
        place = int(os.environ.get("LOCAL_RANK", "0"))
        device = f"cuda:{gpus[place] if gpus else place}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if gpu else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def replicate(model: nn.Module, gpus: Sequence[int] | None) -> nn.Module:
    """``model`` as it is called in training: on several GPUs or in several processes.

    Where it is called with gradients, those of all processes are averaged.
    """
    processes = Processes.current()
    if processes.count > 1:
        # Some models save parameters that never take part in a loss; a static graph finds them.
        return DistributedDataParallel(model, static_graph=True)
    if gpus is not None and len(gpus) > 1:
        return DataParallel(model, device_ids=list(gpus))
    return model


def share_buffers(model: nn.Module) -> None:
    """Give every process the running statistics of process 0."""
    if Processes.current().count > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


def interleaved(parts: Sequence[Sequence[Any]]) -> list[Any]:
    """The elements in the order of the dataset, of which each process had every n-th."""
    rounds = zip_longest(*parts, fillvalue=None)
    return [one for round_ in rounds for one in round_ if one is not None]
