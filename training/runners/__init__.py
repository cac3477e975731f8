"""Loops that change weights."""

from .fitting import fit

__all__ = ["fit"]
