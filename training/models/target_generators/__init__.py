"""Labels to targets."""

from .base import TARGET_GENERATORS, BaseGenerator
from .heatmap import HeatmapGaussianGenerator, HeatmapPlateauGenerator

__all__ = [
    "TARGET_GENERATORS",
    "BaseGenerator",
    "HeatmapGaussianGenerator",
    "HeatmapPlateauGenerator",
]
