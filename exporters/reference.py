"""The PyTorch graph as an engine, and a recorder of what engines see.

An exported engine is judged on exactly the inputs that the reference saw: in a top-down pipeline a
box that differs in the last bit can round to another crop, which says nothing about the pose graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from dlc_deploy.engine import Arrays, Engine

from .graph import DetectorGraph, PoseGraph


class TorchEngine:
    """A graph module run by PyTorch on the CPU; see :class:`dlc_deploy.engine.Engine`."""

    device = "cpu"

    def __init__(self, graph: PoseGraph | DetectorGraph) -> None:
        self._graph = graph.eval()

    @property
    def description(self) -> str:
        """What executes the graph."""
        return f"PyTorch {torch.__version__} (CPU)"

    def run(self, inputs: Arrays) -> Arrays:
        """Execute the graph."""
        with torch.inference_mode():
            values = self._graph(
                **{n: torch.from_numpy(np.ascontiguousarray(v)) for n, v in inputs.items()}
            )
        return {n: v.numpy() for n, v in zip(self._graph.outputs, values, strict=True)}

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True, slots=True)
class Call:
    """What an engine was given and what it gave."""

    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True, slots=True)
class Recorder:
    """An engine that remembers its calls."""

    engine: Engine
    calls: list[Call] = field(default_factory=list)

    @property
    def device(self) -> str:
        """The engine's device."""
        return self.engine.device

    @property
    def description(self) -> str:
        """The engine's description."""
        return self.engine.description

    def run(self, inputs: Arrays) -> Arrays:
        """Run the engine and keep inputs and outputs."""
        outputs = self.engine.run(inputs)
        self.calls.append(Call(dict(inputs), dict(outputs)))
        return outputs

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()
