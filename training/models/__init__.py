"""Pose models and detectors, built from DeepLabCut's configurations, with its parameter names."""

from .model import PoseModel

__all__ = ["PoseModel"]
