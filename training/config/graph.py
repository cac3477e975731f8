"""Which keypoints part affinity fields connect (Lauer et al. 2022, supplementary figure S9)."""

from __future__ import annotations

import math
import random
from itertools import combinations

from .heads import Edges

MAX_LIMBS = 105
"""From this many on, limbs are left out."""
AVERAGE_DEGREE = 6
"""Limbs per keypoint of a graph with limbs left out."""


def paf_graph(keypoints: int) -> Edges:
    """All pairs of keypoints; a random connected choice of them where they are too many.

    The choice follows Python's global random numbers, as DeepLabCut's does: seed those for the
    same graph again. A trained model's graph stands in its configuration.
    """
    edges = [list(pair) for pair in combinations(range(keypoints), 2)]
    if len(edges) < MAX_LIMBS:
        return edges
    wanted = math.ceil(keypoints * AVERAGE_DEGREE / 2)
    while True:
        chosen = random.sample(edges, wanted)
        if _connected(chosen, keypoints):
            return sorted(chosen)


def _connected(edges: Edges, keypoints: int) -> bool:
    neighbours: list[list[int]] = [[] for _ in range(keypoints)]
    for first, second in edges:
        neighbours[first].append(second)
        neighbours[second].append(first)
    reached, waiting = {0}, [0]
    while waiting:
        new = set(neighbours[waiting.pop()]) - reached
        reached |= new
        waiting.extend(new)
    return len(reached) == keypoints
