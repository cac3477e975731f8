"""Outputs of heads to keypoints."""

from .base import PREDICTORS, BasePredictor
from .heatmap import HeatmapPredictor

__all__ = ["PREDICTORS", "BasePredictor", "HeatmapPredictor"]
