"""How the cores of this machine are shared: few, because the parts must not fight for them."""

from __future__ import annotations

import os
from dataclasses import dataclass

_MOST_WORKERS = 8
_CPU_BATCH = 2
"""On 2 cores one or two frames at once are 5 to 10 % faster than eight, which leave the caches."""
_GPU_BATCH = 8


@dataclass(frozen=True, slots=True)
class Parallelism:
    """Batches computed at once, CPU threads that each of them uses, and frames in a batch.

    Whole batches side by side, one thread each, need no barrier between layers and keep every core
    busy; one batch on all threads answers soonest.

    Attributes:
        batch: frames that go through the engines together where nobody asks for another number.
    """

    workers: int
    threads: int
    batch: int = 1

    @classmethod
    def for_throughput(cls, device: str) -> Parallelism:
        """What analyses a video fastest on ``device``."""
        cores = available_cores()
        if device != "cpu":
            return cls(workers=1, threads=1, batch=_GPU_BATCH)
        workers = min(cores, _MOST_WORKERS)
        return cls(workers, threads=cores // workers, batch=_CPU_BATCH)

    @classmethod
    def for_latency(cls) -> Parallelism:
        """What answers one call soonest."""
        return cls(workers=1, threads=available_cores(), batch=1)


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
