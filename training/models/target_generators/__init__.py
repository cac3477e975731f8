"""Labels to targets."""

from .base import TARGET_GENERATORS, BaseGenerator
from .dekr import DEKRGenerator
from .heatmap import HeatmapGaussianGenerator, HeatmapPlateauGenerator
from .paf import PartAffinityFieldGenerator
from .sequential import SequentialGenerator
from .sim_cc import SimCCGenerator

__all__ = [
    "TARGET_GENERATORS",
    "BaseGenerator",
    "DEKRGenerator",
    "HeatmapGaussianGenerator",
    "HeatmapPlateauGenerator",
    "PartAffinityFieldGenerator",
    "SequentialGenerator",
    "SimCCGenerator",
]
