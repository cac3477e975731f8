"""What is measured of a model: size, distance from PyTorch, time, and TensorRT-RTX."""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dlc_deploy.engine import Arrays, Engine
from dlc_deploy.exporters.parity import compare
from dlc_deploy.exporters.reference import Recorder
from dlc_deploy.exporters.tensorrt_rtx import EngineCompileError, compile_engine
from dlc_deploy.runtime.engines import open_engine
from dlc_deploy.training.inference.torch_engine import TorchEngine

from .random_models import FRAME, Entry, drawn_inputs, random_model

THREADS = 1
TARGET = "sm89"
BATCH = (1, 8, 32)
_RUNS, _SECONDS = 3, 3.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One row of the table; figures that have not been measured yet are None.

    Attributes:
        parameters: weights of the network.
        onnx_bytes: size of the ONNX file.
        points: keypoints, peaks or corners of boxes that were compared with PyTorch.
        px_max, score_max: largest differences from PyTorch, of their positions and scores.
        size: (height, width) of the images that were timed.
        cpu_ms: processor time of one image, the middle one of some.
        wall_ms: the same by the clock; much more than ``cpu_ms`` on a machine that others use.
        engine_seconds, engine_bytes: of TensorRT-RTX's compilation.
        engine_refused: why TensorRT-RTX did not compile.
    """

    name: str
    kind: str
    parameters: int
    onnx_bytes: int
    points: int
    px_max: float
    score_max: float
    conditions: int | None
    size: tuple[int, int]
    cpu_ms: float | None = None
    wall_ms: float | None = None
    engine_seconds: float | None = None
    engine_bytes: int | None = None
    engine_refused: str | None = None

    def as_json(self) -> dict[str, Any]:
        """In plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The reverse."""
        return cls(**content | {"size": tuple(content["size"])})


def measure_graph(entry: Entry, path: Path) -> Figures:
    """Export the model with drawn weights to ``path``, and compare it with PyTorch."""
    model = random_model(entry)
    # Recorded before the export, which rewrites operators.
    reference = Recorder(TorchEngine(model.graph))
    reference.run(model.inputs())
    model.write(path)
    engine = open_engine(path)
    parity = compare(reference.calls, engine, model.grouping)
    engine.close()
    return Figures(
        name=entry.name,
        kind=entry.kind,
        parameters=model.parameters,
        onnx_bytes=path.stat().st_size,
        points=parity.points,
        px_max=parity.px_max,
        score_max=parity.score_max,
        conditions=model.conditions,
        size=model.size.example if model.size.fixed else FRAME,
    )


def measure_engine(figures: Figures, path: Path) -> Figures:
    """Compile the file with TensorRT-RTX."""
    began = time.perf_counter()
    try:
        engine = compile_engine(path, compute_capabilities=(TARGET,), batch=BATCH)
    except EngineCompileError as error:
        _, *reasons, _ = str(error).splitlines()
        return dataclasses.replace(figures, engine_refused="; ".join(map(str.strip, reasons)))
    seconds = time.perf_counter() - began
    return dataclasses.replace(figures, engine_seconds=seconds, engine_bytes=len(engine))


def measure_speed(figures: Figures, path: Path) -> Figures:
    """Time ONNX Runtime on one image, on one thread."""
    engine = open_engine(path, threads=THREADS)
    inputs = drawn_inputs(1, figures.size, figures.conditions)
    cpu, wall = _times(engine, inputs)
    engine.close()
    return dataclasses.replace(figures, cpu_ms=1e3 * cpu, wall_ms=1e3 * wall)


def _times(engine: Engine, inputs: Arrays) -> tuple[float, float]:
    """Middle processor and clock seconds of a run."""
    engine.run(inputs)
    cpu: list[float] = []
    wall: list[float] = []
    began = time.perf_counter()
    while len(cpu) < _RUNS or time.perf_counter() - began < _SECONDS:
        marks = time.process_time(), time.perf_counter()
        engine.run(inputs)
        cpu.append(time.process_time() - marks[0])
        wall.append(time.perf_counter() - marks[1])
    return statistics.median(cpu), statistics.median(wall)
