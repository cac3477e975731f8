"""How the cores of this machine are shared: few, because the parts must not fight for them."""

from __future__ import annotations

import os
from dataclasses import dataclass

_MOST_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Parallelism:
    """Batches computed at once, and CPU threads that each of them uses.

    Whole batches side by side, one thread each, need no barrier between layers and keep every core
    busy; one batch on all threads answers soonest.
    """

    workers: int
    threads: int

    @classmethod
    def for_throughput(cls, device: str) -> Parallelism:
        """What analyses a video fastest on ``device``."""
        cores = available_cores()
        if device != "cpu":
            return cls(workers=1, threads=1)
        workers = min(cores, _MOST_WORKERS)
        return cls(workers, threads=cores // workers)

    @classmethod
    def for_latency(cls) -> Parallelism:
        """What answers one call soonest."""
        return cls(workers=1, threads=available_cores())


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
