"""How fast a part of the analysis is on its own: no analysis can be faster than these."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.bundle import Bundle
from dlc_deploy.engine import Arrays, Engine
from dlc_deploy.runtime.engines import open_engine
from dlc_deploy.runtime.parallel import Parallelism
from dlc_deploy.runtime.pipelines import build_pipeline, run_steps
from dlc_deploy.runtime.video.reader import VideoReader


@dataclass(frozen=True, slots=True)
class Rate:
    """Frames, and the wall-clock seconds they took."""

    frames: int
    seconds: float


def time_decoding(video: Path, frames: int) -> Rate:
    """Decode the first ``frames`` frames of a video to RGB and drop them."""
    began = time.perf_counter()
    with VideoReader(video, stop=frames) as reader:
        count = sum(frame.rgb is not None for frame in reader)
    return Rate(count, time.perf_counter() - began)


def read_frames(video: Path, frames: int) -> NDArray[np.uint8]:
    """The first ``frames`` frames of a video, uint8 [N, H, W, 3] RGB."""
    with VideoReader(video, stop=frames) as reader:
        return np.stack([frame.rgb for frame in reader if frame.rgb is not None])


def time_network(bundle: Bundle, frames: NDArray[np.uint8], batch: int) -> Rate:
    """Run the graphs alone, on inputs that lie ready, with as many workers as an analysis has.

    The inputs are recorded in a first run, which is also the warm-up.
    """
    plan = Parallelism.for_throughput("cpu")
    recorders: list[_Recorder] = []

    def open_graph(graph: Path) -> Engine:
        recorders.append(_Recorder(open_engine(graph, threads=plan.threads)))
        return recorders[-1]

    pipeline = build_pipeline(bundle, open_graph, bundle.manifest.max_individuals)
    jobs: list[Sequence[tuple[Engine, Arrays]]] = []
    for start in range(0, len(frames), batch):
        run_steps(pipeline, frames[start : start + batch])
        jobs.append([call for recorder in recorders for call in recorder.take()])
    with ThreadPoolExecutor(plan.workers) as pool:
        began = time.perf_counter()
        list(pool.map(_replay, jobs))
        seconds = time.perf_counter() - began
    for recorder in recorders:
        recorder.close()
    return Rate(len(frames), seconds)


class _Recorder:
    """An engine that keeps the inputs it is given until they are taken."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._inputs: list[Arrays] = []
        self.device, self.description = engine.device, engine.description

    def run(self, inputs: Arrays) -> Arrays:
        self._inputs.append(inputs)
        return self._engine.run(inputs)

    def take(self) -> list[tuple[Engine, Arrays]]:
        taken, self._inputs = self._inputs, []
        return [(self._engine, inputs) for inputs in taken]

    def close(self) -> None:
        self._engine.close()


def _replay(calls: Sequence[tuple[Engine, Arrays]]) -> None:
    for engine, inputs in calls:
        engine.run(inputs)
