"""Labels to targets."""

from .base import TARGET_GENERATORS, BaseGenerator
from .heatmap import HeatmapGaussianGenerator, HeatmapPlateauGenerator
from .sim_cc import SimCCGenerator

__all__ = [
    "TARGET_GENERATORS",
    "BaseGenerator",
    "HeatmapGaussianGenerator",
    "HeatmapPlateauGenerator",
    "SimCCGenerator",
]
