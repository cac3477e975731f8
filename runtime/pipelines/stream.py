"""Stages joined by queues: the slowest sets the pace, memory is constant, one fault ends all.

    source ──▶ stage (n workers) ──▶ stage (n workers) ──▶ ... ──▶ results in the source's order

A fixed number of credits bounds what is in flight: the source takes one for each item, the consumer
gives it back with each result. So no queue can grow, whichever stage is slow, and workers of a
stage may finish out of order without a deadlock.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Stage:
    """One step that every item passes.

    Attributes:
        work: from the item as the stage before left it to the item for the stage after; called
            from ``workers`` threads at once.
    """

    name: str
    work: Callable[[Any], Any]
    workers: int = 1


@dataclass(slots=True)
class StageTime:
    """What a stage did so far.

    Attributes:
        busy_seconds: wall-clock time inside ``work``, summed over its workers.
        cpu_seconds: processor time of these threads meanwhile; what an engine's own threads use
            is not in it.
    """

    workers: int
    items: int = 0
    busy_seconds: float = 0.0
    cpu_seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Add the time of the enclosed block."""
        wall, cpu = time.perf_counter(), time.thread_time()
        yield
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
        with self._lock:
            self.items += 1
            self.busy_seconds += wall
            self.cpu_seconds += cpu


@dataclass(frozen=True, slots=True)
class _Fault:
    stage: str
    item: int
    error: BaseException


class Stream:
    """Runs the items of ``source`` through ``stages``; iterate inside ``with``.

    An exception in the source or a stage stops every thread and is raised from the iterator, with a
    note that names the stage and the item. Leaving the ``with`` block early stops them too.

    Args:
        source: pulled from a thread of its own.
        stages: in order; the list is not empty.
        depth: items that may be in flight.
        source_name: its name in ``times`` and in faults.
    """

    def __init__(
        self,
        source: Iterable[Any],
        stages: Sequence[Stage],
        *,
        depth: int,
        source_name: str = "decode",
    ) -> None:
        self.times = {source_name: StageTime(1)}
        self.times |= {stage.name: StageTime(stage.workers) for stage in stages}
        self._source, self._source_name, self._stages = source, source_name, tuple(stages)
        self._credits = threading.Semaphore(depth)
        self._queues: list[queue.SimpleQueue[Any]] = [
            queue.SimpleQueue() for _ in range(len(self._stages) + 1)
        ]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._pull, name=source_name, daemon=True)]
        for place, stage in enumerate(self._stages):
            self._threads += [
                threading.Thread(target=self._work, args=(place,), name=stage.name, daemon=True)
                for _ in range(stage.workers)
            ]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Any]:
        waiting: dict[int, Any] = {}
        total: int | None = None
        expected = 0
        while total is None or expected < total:
            item, value = self._take(self._queues[-1])
            if isinstance(value, _Fault):
                value.error.add_note(f"in stage {value.stage!r}, item {value.item}")
                raise value.error
            if value is _END:
                total = item
                continue
            waiting[item] = value
            while expected in waiting:
                yield waiting.pop(expected)
                self._credits.release()
                expected += 1

    def _pull(self) -> None:
        items, count = iter(self._source), 0
        try:
            while self._credit():
                with self.times[self._source_name].measured():
                    value = next(items, _END)
                if value is _END:
                    self._queues[-1].put((count, _END))
                    return
                self._queues[0].put((count, value))
                count += 1
        except BaseException as error:
            self._fail(_Fault(self._source_name, count, error))

    def _work(self, place: int) -> None:
        stage, times = self._stages[place], self.times[self._stages[place].name]
        while not self._stop.is_set():
            try:
                item, value = self._queues[place].get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            try:
                with times.measured():
                    value = stage.work(value)
            except BaseException as error:
                self._fail(_Fault(stage.name, item, error))
                return
            self._queues[place + 1].put((item, value))

    def _credit(self) -> bool:
        while not self._stop.is_set():
            if self._credits.acquire(timeout=_POLL_SECONDS):
                return True
        return False

    def _take(self, results: queue.SimpleQueue[Any]) -> tuple[int, Any]:
        while True:
            try:
                taken: tuple[int, Any] = results.get(timeout=_POLL_SECONDS)
                return taken
            except queue.Empty:
                if self._stop.is_set():
                    raise RuntimeError("This stream was left; make a new one.") from None

    def _fail(self, fault: _Fault) -> None:
        self._queues[-1].put((fault.item, fault))  # first: who sees the stop must find the reason
        self._stop.set()


_END: Any = object()
