"""Where the animals are."""

from .base import DETECTORS, BaseDetector
from .ssd import SSDLite

__all__ = ["DETECTORS", "BaseDetector", "SSDLite"]
