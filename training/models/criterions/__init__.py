"""Distances between outputs and targets."""

from .aggregators import WeightedLossAggregator
from .base import CRITERIONS, LOSS_AGGREGATORS, BaseCriterion, BaseLossAggregator
from .weighted import WeightedBCECriterion, WeightedHuberCriterion, WeightedMSECriterion

__all__ = [
    "CRITERIONS",
    "LOSS_AGGREGATORS",
    "BaseCriterion",
    "BaseLossAggregator",
    "WeightedBCECriterion",
    "WeightedHuberCriterion",
    "WeightedLossAggregator",
    "WeightedMSECriterion",
]
