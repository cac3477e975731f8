"""Animals, as grouping gives them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grouped:
    """Animals of N frames.

    Attributes:
        poses: float32 [N, I, K, 3]; x, y in input pixels, and score. An absent animal is NaN
            throughout, an absent keypoint of a present animal is NaN, NaN, 0.
        source: int64 [N, I, K]; where each keypoint comes from: its peak's place, or the row it had
            before; -1 for what is absent. Other outputs of the graph are gathered by it.
        affinity: float32 [N, I]; mean affinity of an animal's links, 0 if it needs none, NaN for
            absent animals; or None where nothing is linked.
    """

    poses: Float
    source: Index
    affinity: Float | None = None
