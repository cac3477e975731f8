"""Targets of several generators together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .base import TARGET_GENERATORS, BaseGenerator, Targets


@TARGET_GENERATORS.register_module
class SequentialGenerator(BaseGenerator):
    """What each generator makes; where two make the same output the later one counts.

    Args:
        generators: configurations, or generators.
        options: those of :class:`BaseGenerator`; each generator reads the labels of its own.
    """

    def __init__(
        self, generators: Sequence[Mapping[str, Any] | BaseGenerator], **options: Any
    ) -> None:
        super().__init__(**options)
        self.generators = nn.ModuleList(
            one if isinstance(one, BaseGenerator) else TARGET_GENERATORS.build(one)
            for one in generators
        )

    def forward(
        self, stride: float, outputs: dict[str, Tensor], labels: dict[str, Tensor]
    ) -> Targets:
        """See :class:`BaseGenerator`."""
        targets: Targets = {}
        for generator in self.generators:
            targets |= generator(stride, outputs, labels)
        return targets
