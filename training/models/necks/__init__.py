"""Features to features, between backbone and heads."""

from .base import NECKS, BaseNeck
from .transformer import Transformer

__all__ = [
    "NECKS",
    "BaseNeck",
    "Transformer",
]
