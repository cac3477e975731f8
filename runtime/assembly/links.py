"""Which peaks belong together: the best one-to-one links along each edge of the graph.

As extract_best_links in deeplabcut's core/inferenceutils.py, which follows Cao et al., OpenPose
(2017), with an optimal instead of a greedy matching.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dlc_deploy.grouping import PafGrouping

from .grouped import Float, Index

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Links:
    """The L links of one frame, edge after edge.

    A node is a peak: bodypart * P + place.

    Attributes:
        source, target: int64 [L]; nodes.
        affinity: float32 [L].
        component: int64 [K * P]; for each node the first one that it is linked with, also by way of
            others.
    """

    source: Index
    target: Index
    affinity: Float
    component: Index


def best_links(grouping: PafGrouping, peaks: Float, affinities: Float) -> list[Links]:
    """Links of each frame.

    Args:
        grouping: thresholds and edges.
        peaks: float32 [N, K, P, 3], best first.
        affinities: float32 [N, E, P, P].
    """
    frames, bodyparts, places = peaks.shape[:3]
    source_part, target_part = np.array(grouping.edges, np.int64).reshape(-1, 2).T
    usable = _usable(peaks, grouping.min_score)
    affinities = np.where(np.isnan(affinities), np.float32(0), affinities)
    linked = _matched(
        affinities, usable[:, source_part], usable[:, target_part], grouping.min_affinity
    )
    linked &= affinities >= grouping.min_affinity
    frame, edge, row, column = np.nonzero(linked)
    source = source_part[edge] * places + row
    target = target_part[edge] * places + column
    nodes = bodyparts * places
    component = _components(frame * nodes + source, frame * nodes + target, frames * nodes)
    component = component.reshape(frames, nodes) - nodes * np.arange(frames)[:, None]
    affinity = affinities[linked]
    bounds = np.searchsorted(frame, np.arange(frames + 1)).tolist()
    parts = [slice(first, last) for first, last in pairwise(bounds)]
    return [
        Links(source[part], target[part], affinity[part], component[n])
        for n, part in enumerate(parts)
    ]


def _usable(peaks: Float, min_score: float) -> Mask:
    """Peaks [N, K, P] that may be linked; score 0 marks a place without a peak."""
    score = peaks[..., 2].astype(np.float64)
    return (score >= min_score) & (score > 0)


def _matched(affinities: Float, sources: Mask, targets: Mask, min_affinity: float) -> Mask:
    """The one-to-one matching [N, E, P, P] of largest total affinity along each edge.

    Where the best targets of all sources differ, they are the only such matching: none can have a
    larger total, and every other has a smaller one. Likewise with sources and targets swapped. (A
    peak whose affinities are all 0 may be matched with anything; such links are dropped later.)
    Only the other edges need the Hungarian method.
    """
    possible = sources[..., :, None] & targets[..., None, :]
    values = np.where(possible, affinities, np.float32(0))
    matched = np.zeros_like(possible)
    hard = np.ones(possible.shape[:2], bool)
    if min_affinity > 0:
        for axis in (3, 2):
            best = values == values.max(axis=axis, keepdims=True)
            best &= values > 0
            clear = (best.sum(axis=2) <= 1).all(axis=2) & (best.sum(axis=3) <= 1).all(axis=2)
            matched |= best & (hard & clear)[..., None, None]
            hard &= ~clear
    rows, columns = sources.sum(axis=2), targets.sum(axis=2)
    for frame, edge in zip(*(place.tolist() for place in np.nonzero(hard)), strict=True):
        seen = values[frame, edge, : rows[frame, edge], : columns[frame, edge]]
        matched[frame, edge][linear_sum_assignment(seen, maximize=True)] = True
    return matched


def _components(source: Index, target: Index, nodes: int) -> Index:
    """For each node, the first of all nodes that it is linked with, also by way of others."""
    first = np.arange(nodes)
    while True:
        ends = np.minimum(first[source], first[target])
        if (ends == first[source]).all() and (ends == first[target]).all():
            return first
        np.minimum.at(first, source, ends)
        np.minimum.at(first, target, ends)
        first = first[first]
