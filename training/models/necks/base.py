"""What every neck is."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from ..registry import Registry


class BaseNeck(ABC, nn.Module):
    """A module between backbone and heads."""

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features for the heads, of the backbone's features [N, C, H, W]."""


NECKS: Registry[BaseNeck] = Registry("neck")
