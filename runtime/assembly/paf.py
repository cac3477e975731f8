"""Peaks and affinities become animals.

As Assembler in deeplabcut's core/inferenceutils.py, the way its part affinity field predictor uses
it (Lauer et al., Multi-animal pose estimation with DeepLabCut, 2022). DeepLabCut links no peaks but
the best ``individuals`` of a bodypart, so those are enough; only with ``add_discarded``, and where
an animal was dropped that lay on another, can it reach for a peak beyond them, which here stays
absent.
"""

from __future__ import annotations

import numpy as np

from dlc_deploy.grouping import PafGrouping

from .animals import Animal, build_animals
from .grouped import Float, Grouped, Index
from .links import Links, best_links


def group_peaks(grouping: PafGrouping, peaks: Float, affinities: Float) -> Grouped:
    """Animals of N frames, the one with the largest sum of affinities first.

    Args:
        grouping: how.
        peaks: float32 [N, K, P, 3], best first; a place without a peak has score 0.
        affinities: float32 [N, E, P, P].

    Raises:
        ValueError: arrays of other shapes.
    """
    _check(grouping, peaks, affinities)
    frames, bodyparts = peaks.shape[:2]
    source = np.full((frames, grouping.individuals, bodyparts), -1, np.int64)
    affinity = np.zeros((frames, grouping.individuals), np.float32)
    if grouping.individuals == 1:
        source[:, 0] = np.where(peaks[:, :, 0, 2] > 0, 0, -1)
    elif bodyparts == 1:
        found = (peaks[:, 0, :, 2] >= grouping.min_score) & (peaks[:, 0, :, 2] > 0)
        source[:, :, 0] = np.where(found, np.arange(peaks.shape[2]), -1)
    else:
        for frame, links in enumerate(best_links(grouping, peaks, affinities)):
            animals = _animals(grouping, links, peaks[frame])
            for row, animal in enumerate(animals):
                source[frame, row] = animal.nodes
                affinity[frame, row] = animal.total(links.affinity) / max(len(animal.links), 1)
        source = np.where(source >= 0, source % grouping.individuals, -1)
    return Grouped(*_gathered(peaks, source, affinity, clip=grouping.clip_scores))


def _check(grouping: PafGrouping, peaks: Float, affinities: Float) -> None:
    edges, most = len(grouping.edges), grouping.individuals
    if peaks.ndim != 4 or peaks.shape[2:] != (most, 3):
        raise ValueError(f"Expected peaks [N, K, {most}, 3], got {list(peaks.shape)}.")
    if affinities.shape != (len(peaks), edges, most, most):
        raise ValueError(
            f"Expected affinities [{len(peaks)}, {edges}, {most}, {most}], "
            f"got {list(affinities.shape)}."
        )


def _animals(grouping: PafGrouping, links: Links, peaks: Float) -> list[Animal]:
    """The animals of one frame, at most as many as there are; ``peaks`` is [K, P, 3]."""
    nodes = peaks.reshape(-1, 3)
    animals = build_animals(grouping, links, len(peaks), nodes[:, :2])
    free = nodes[:, 2] > 0
    free[[node for animal in animals for node in animal.nodes if node >= 0]] = False
    kept = [animal for animal in animals if len(animal.links) >= grouping.min_links]
    dropped = [animal for animal in animals if len(animal.links) < grouping.min_links]
    if 0 < grouping.max_overlap < 1 and kept:
        kept = _apart(kept, links, nodes[:, :2], grouping.max_overlap)
    if len(kept) > grouping.individuals:
        kept.sort(key=lambda animal: animal.size, reverse=True)
        dropped += kept[grouping.individuals :]
        kept = kept[: grouping.individuals]
    if grouping.add_discarded and kept:
        used = [link for animal in dropped for link in animal.links]
        free[links.source[used]] = free[links.target[used]] = True
        _add_free(kept, np.flatnonzero(free), nodes)
    return kept


def _apart(animals: list[Animal], links: Links, xy: Float, max_overlap: float) -> list[Animal]:
    """Animals by falling sum of affinities, without those that lie on a better one."""
    totals = np.array([animal.total(links.affinity) for animal in animals])
    order = np.argsort(-totals, kind="stable")
    animals = [animals[place] for place in order]
    if len(animals) == 1:
        return animals
    close = _overlap(animals, xy) >= max_overlap
    kept: list[int] = []
    for place in range(len(animals)):
        if not close[kept, place].any():
            kept.append(place)
    return [animals[place] for place in kept]


def _overlap(animals: list[Animal], xy: Float) -> Float:
    """How much each two lie on each other, [A, A]: the share of keypoints in the rectangle that
    their bounding boxes share, of the one with the smaller share."""
    nodes = np.array([animal.nodes for animal in animals])
    points = np.where((nodes >= 0)[..., None], xy[nodes], np.float32(np.nan))
    low = np.fmin.reduce(points, axis=1)
    high = np.fmax.reduce(points, axis=1)
    low, high = np.maximum(low[:, None], low), np.minimum(high[:, None], high)
    inside = (points[:, None] >= low[:, :, None]) & (points[:, None] <= high[:, :, None])
    share = inside.all(axis=3).sum(axis=2) / (nodes >= 0).sum(axis=1)[:, None]
    both: Float = np.where((high < low).any(axis=2), 0, np.minimum(share, share.T))
    return both


def _add_free(animals: list[Animal], free: Index, nodes: Float) -> None:
    """Give each free peak, best first, to the nearest animal that lacks its bodypart."""
    places = len(nodes) // len(animals[0].nodes)
    for node in free[np.argsort(-nodes[free, 2], kind="stable")].tolist():
        lacking = [animal for animal in animals if animal.nodes[node // places] < 0]
        if not lacking:
            continue
        xy = nodes[:, :2].astype(np.float64)
        nearest = min(
            lacking,
            key=lambda animal: min(
                float(np.hypot(*(xy[other] - xy[node]))) for other in animal.nodes if other >= 0
            ),
        )
        nearest.nodes[node // places] = node
        nearest.size += 1


def _gathered(
    peaks: Float, source: Index, affinity: Float, *, clip: bool
) -> tuple[Float, Index, Float]:
    """Peaks [N, K, P, 3] at the places of ``source`` [N, I, K]."""
    found = source >= 0
    absent = ~found.any(axis=2)
    places = np.where(found, source, 0).transpose(0, 2, 1)[..., None]
    poses = np.take_along_axis(peaks, places, axis=2).transpose(0, 2, 1, 3)
    if clip:
        poses[..., 2] = poses[..., 2].clip(0, 1)
    poses[~found] = np.nan, np.nan, 0
    poses[absent] = np.nan
    affinity[absent] = np.nan
    return np.ascontiguousarray(poses), source, affinity
