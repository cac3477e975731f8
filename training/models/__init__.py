"""Pose models and detectors, built from DeepLabCut's configurations, with its parameter names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import PoseModel

__all__ = ["PoseModel"]


def __getattr__(name: str) -> Any:
    # Who only wants a registry does not wait for the networks, nor for timm.
    if name != "PoseModel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .model import PoseModel

    return PoseModel
