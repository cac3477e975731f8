"""Where the animals are."""

from .base import DETECTORS, BaseDetector

__all__ = ["DETECTORS", "BaseDetector"]
