"""Distances between outputs and targets."""

from .aggregators import WeightedLossAggregator
from .base import CRITERIONS, LOSS_AGGREGATORS, BaseCriterion, BaseLossAggregator
from .dekr import DEKRHeatmapLoss, DEKROffsetLoss
from .kl_discrete import KLDiscreteLoss
from .weighted import WeightedBCECriterion, WeightedHuberCriterion, WeightedMSECriterion

__all__ = [
    "CRITERIONS",
    "LOSS_AGGREGATORS",
    "BaseCriterion",
    "BaseLossAggregator",
    "DEKRHeatmapLoss",
    "DEKROffsetLoss",
    "KLDiscreteLoss",
    "WeightedBCECriterion",
    "WeightedHuberCriterion",
    "WeightedLossAggregator",
    "WeightedMSECriterion",
]
