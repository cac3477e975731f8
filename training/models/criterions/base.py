"""What every loss is, and how several become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from ..registry import Registry


class BaseCriterion(ABC, nn.Module):
    """Distance between one output of a head and its target."""

    @abstractmethod
    def forward(self, output: torch.Tensor, target: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """A scalar; ``kwargs`` are what the target generator gives besides ``target``."""


class BaseLossAggregator(ABC, nn.Module):
    """Several losses to one."""

    @abstractmethod
    def forward(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
        """A scalar of the losses by name."""


CRITERIONS: Registry[BaseCriterion] = Registry("criterion")
LOSS_AGGREGATORS: Registry[BaseLossAggregator] = Registry("loss aggregator")
