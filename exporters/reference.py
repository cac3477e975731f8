"""A recorder of what engines see.

An exported engine is judged on exactly the inputs that the reference saw: in a top-down pipeline a
box that differs in the last bit can round to another crop, which says nothing about the pose graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dlc_deploy.engine import Arrays, Engine


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
