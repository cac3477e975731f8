"""Features to outputs."""

from .base import HEADS, BaseHead
from .heatmap import HeatmapHead
from .rtmcc_head import RTMCCHead

__all__ = ["HEADS", "BaseHead", "HeatmapHead", "RTMCCHead"]
