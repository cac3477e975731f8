"""Distances between outputs and targets."""

from .aggregators import WeightedLossAggregator
from .base import CRITERIONS, LOSS_AGGREGATORS, BaseCriterion, BaseLossAggregator
from .kl_discrete import KLDiscreteLoss
from .weighted import WeightedBCECriterion, WeightedHuberCriterion, WeightedMSECriterion

__all__ = [
    "CRITERIONS",
    "LOSS_AGGREGATORS",
    "BaseCriterion",
    "BaseLossAggregator",
    "KLDiscreteLoss",
    "WeightedBCECriterion",
    "WeightedHuberCriterion",
    "WeightedLossAggregator",
    "WeightedMSECriterion",
]
