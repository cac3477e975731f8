"""Features to features, between backbone and heads."""

from .base import NECKS, BaseNeck

__all__ = ["NECKS", "BaseNeck"]
