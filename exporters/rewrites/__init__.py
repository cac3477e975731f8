"""Operators rewritten in plain ones that every engine takes and runs fast, with the same numbers.

One file an operator. Adding one: a file with ``rewrite(module) -> int`` (replaces in place, returns
how many), a line in ``REWRITES``, and a test that the numbers stay.
"""

from __future__ import annotations

from torch import nn

from . import deform_conv

REWRITES = {"deform_conv": deform_conv.rewrite}


def rewrite_operators(module: nn.Module) -> dict[str, int]:
    """Apply every rewrite to ``module`` in place; how many operators each replaced."""
    return {name: rewrite(module) for name, rewrite in REWRITES.items()}
