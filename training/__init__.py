"""From labels to snapshots: models, data and runners of DeepLabCut 3, under its names."""

from .config import available_detectors, available_models

__all__ = ["available_detectors", "available_models"]
