"""The seam between pipelines and what executes a graph.

An engine knows arrays, not animals: one engine serves every model, one pipeline every engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """A loaded graph on one device.

    ``run`` may be called from several threads at once. Inputs and outputs carry the names of the
    graph; the first dimension is the batch.
    """

    @property
    def device(self) -> str:
        """The device as asked for: ``cpu`` or ``cuda:N``."""
        ...

    @property
    def description(self) -> str:
        """What executes the graph, for reports: engine, version, provider, threads."""
        ...

    def run(self, inputs: Arrays) -> Arrays:
        """Execute the graph.

        Raises:
            ValueError: an input is missing or has another dtype or shape than the graph takes.
        """
        ...

    def close(self) -> None:
        """Release what the engine holds; it cannot run afterwards."""
        ...
