"""Features to outputs."""

from .base import HEADS, BaseHead
from .heatmap import HeatmapHead

__all__ = ["HEADS", "BaseHead", "HeatmapHead"]
