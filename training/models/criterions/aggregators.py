"""Several losses of one head to one."""

from __future__ import annotations

import torch

from .base import LOSS_AGGREGATORS, BaseLossAggregator


@LOSS_AGGREGATORS.register_module
class WeightedLossAggregator(BaseLossAggregator):
    """Mean (not sum) of the weighted losses, as DeepLabCut's.

    Args:
        weights: by the name of the loss.
    """

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
        """See :class:`BaseLossAggregator`."""
        weighted = [weight * losses[name] for name, weight in self.weights.items()]
        return torch.stack(weighted).mean()
