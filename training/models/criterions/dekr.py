"""Losses of DEKR's heatmaps and offsets, as DeepLabCut's models/criterions/dekr.py."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from .base import CRITERIONS, BaseCriterion


@CRITERIONS.register_module
class DEKRHeatmapLoss(BaseCriterion):
    """Mean of the weighted squared errors; elements of weight 0 count in the mean."""

    def forward(
        self,
        output: torch.Tensor,
        target: torch.Tensor,
        weights: torch.Tensor | float = 1.0,
        **_: Any,
    ) -> torch.Tensor:
        """The loss; ``weights`` broadcasts to ``output``."""
        return (functional.mse_loss(output, target, reduction="none") * weights).mean()


@CRITERIONS.register_module
class DEKROffsetLoss(BaseCriterion):
    """Sum of the weighted smooth absolute errors over the number of positive weights.

    Args:
        beta: errors below it are squared.
    """

    def __init__(self, beta: float = 1 / 9) -> None:
        super().__init__()
        self.beta = beta

    def forward(
        self,
        output: torch.Tensor,
        target: torch.Tensor,
        weights: torch.Tensor | float = 1.0,
        **_: Any,
    ) -> torch.Tensor:
        """The loss; ``weights`` broadcasts to ``output``."""
        loss = functional.smooth_l1_loss(output, target, reduction="none", beta=self.beta)
        weights = torch.as_tensor(weights, device=loss.device, dtype=loss.dtype).expand_as(loss)
        return (loss * weights).sum() / (weights > 0).sum().clamp(min=1)
