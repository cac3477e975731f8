"""Outputs of heads to keypoints."""

from .base import PREDICTORS, BasePredictor
from .heatmap import HeatmapPredictor
from .sim_cc import SimCCPredictor

__all__ = ["PREDICTORS", "BasePredictor", "HeatmapPredictor", "SimCCPredictor"]
