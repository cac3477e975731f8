"""Losses of which each element has a weight; elements of weight 0 do not count at all."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .base import CRITERIONS, BaseCriterion


class WeightedCriterion(BaseCriterion):
    """Sum of weight * loss over the number of elements whose weight is not 0.

    Args:
        criterion: an elementwise loss.
    """

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(
        self,
        output: torch.Tensor,
        target: torch.Tensor,
        weights: torch.Tensor | float = 1.0,
        **_: Any,
    ) -> torch.Tensor:
        """The weighted loss; ``weights`` broadcasts to ``output``."""
        loss: torch.Tensor = self.criterion(output, target)
        weights = torch.as_tensor(weights, device=loss.device, dtype=loss.dtype).expand_as(loss)
        counted = (weights != 0).sum().clamp(min=1)
        return (loss * weights).sum() / counted


@CRITERIONS.register_module
class WeightedMSECriterion(WeightedCriterion):
    """Squared error."""

    def __init__(self) -> None:
        super().__init__(nn.MSELoss(reduction="none"))


@CRITERIONS.register_module
class WeightedHuberCriterion(WeightedCriterion):
    """Huber loss."""

    def __init__(self) -> None:
        super().__init__(nn.HuberLoss(reduction="none"))


@CRITERIONS.register_module
class WeightedBCECriterion(WeightedCriterion):
    """Binary cross-entropy of logits."""

    def __init__(self) -> None:
        super().__init__(nn.BCEWithLogitsLoss(reduction="none"))
