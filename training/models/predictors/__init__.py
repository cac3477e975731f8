"""Outputs of heads to keypoints."""

from .base import PREDICTORS, BasePredictor
from .dekr import DEKRPredictor
from .heatmap import HeatmapPredictor
from .identity import IdentityPredictor
from .paf import PartAffinityFieldPredictor
from .sim_cc import SimCCPredictor

__all__ = [
    "PREDICTORS",
    "BasePredictor",
    "DEKRPredictor",
    "HeatmapPredictor",
    "IdentityPredictor",
    "PartAffinityFieldPredictor",
    "SimCCPredictor",
]
