"""Features to outputs."""

from .base import HEADS, BaseHead
from .dekr import DEKRHead
from .dlcrnet import DLCRNetHead
from .heatmap import HeatmapHead
from .rtmcc_head import RTMCCHead
from .transformer import TransformerHead

__all__ = [
    "HEADS",
    "BaseHead",
    "DEKRHead",
    "DLCRNetHead",
    "HeatmapHead",
    "RTMCCHead",
    "TransformerHead",
]
