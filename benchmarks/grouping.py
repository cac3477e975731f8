"""How long a frame's peaks take to become animals, on one core.

    python -m dlc_deploy.benchmarks.grouping [--frames 200] [--json FILE]

Scenes are drawn: ``separate`` animals whose limbs have high affinities and a few noise peaks, as a
trained network sees them; ``occluded`` ones of which a tenth of the keypoints is missing, with more
noise; and ``random`` affinities, as of a network that learnt nothing. Every edge between two
bodyparts is in the graph. Frames are grouped one at a time; what counts is the time of the core
that does it, so that other programs on the machine disturb little.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.grouping import PafGrouping
from dlc_deploy.runtime.assembly import group

from .machine import describe_machine, describe_versions

Float = NDArray[np.float32]
SIZES = ((3, 12), (10, 20))
LIMITS_MS = {(3, 12): 1.0, (10, 20): 5.0}
NOISE_PEAKS = 1.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What scenes look like: share of missing keypoints, and spread of the affinities between
    peaks that do not belong together."""

    name: str
    missing: float
    confusion: float


KINDS = (Kind("separate", 0.02, 0.02), Kind("occluded", 0.1, 0.1), Kind("random", 0.2, 0.6))


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of processor time a frame."""

    animals: int
    bodyparts: int
    kind: str
    median_ms: float
    p95_ms: float
    found: float


def main() -> None:
    """Measure, print, and write if wanted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--frames", type=int, default=200, help="frames of each kind")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    timings = [time_grouping(*size, kind, arguments.frames) for size in SIZES for kind in KINDS]
    print("animals bodyparts scenes     median ms   p95 ms   limit ms   animals found")
    for t in timings:
        limit = LIMITS_MS[t.animals, t.bodyparts]
        print(
            f"{t.animals:7} {t.bodyparts:9} {t.kind:10} {t.median_ms:9.2f} {t.p95_ms:8.2f} "
            f"{limit:10.1f} {t.found:15.1f}"
        )
    if arguments.json is not None:
        content = {
            "machine": describe_machine(),
            "versions": describe_versions(),
            "timings": [asdict(timing) for timing in timings],
        }
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


def time_grouping(animals: int, bodyparts: int, kind: Kind, frames: int) -> Timing:
    """Group ``frames`` drawn frames, one at a time, after a first one that warms up."""
    random = np.random.default_rng(0)
    edges = tuple(combinations(range(bodyparts), 2))
    grouping = PafGrouping(edges=edges, individuals=animals)
    took, found = [], []
    for _ in range(frames + 1):
        peaks, owner = draw_peaks(random, animals, bodyparts, kind.missing)
        affinities = draw_affinities(random, owner, edges, kind.confusion)
        decoded = {"peaks": peaks[None], "affinities": affinities[None]}
        began = time.thread_time()
        grouped = group(grouping, decoded)
        took.append(1000 * (time.thread_time() - began))
        found.append((grouped.source >= 0).any(axis=2).sum())
    median, p95 = np.percentile(took[1:], [50, 95])
    return Timing(animals, bodyparts, kind.name, float(median), float(p95), float(np.mean(found)))


def draw_peaks(
    random: np.random.Generator, animals: int, bodyparts: int, missing: float
) -> tuple[Float, NDArray[np.int64]]:
    """Peaks [K, P, 3], best first, and whose they are [K, P]: an animal, or -1 for noise and -2 for
    no peak."""
    peaks = np.zeros((bodyparts, animals, 3), np.float32)
    owner = np.full((bodyparts, animals), -2)
    centres, shape = random.uniform(0, 1000, (animals, 2)), random.normal(0, 30, (bodyparts, 2))
    for part in range(bodyparts):
        there = np.flatnonzero(random.random(animals) >= missing)
        noise = random.poisson(NOISE_PEAKS)
        xy = np.concatenate([centres[there] + shape[part], random.uniform(0, 1000, (noise, 2))])
        score = np.r_[random.uniform(0.5, 1, len(there)), random.uniform(0.05, 0.4, noise)]
        order = np.argsort(-score)[:animals]
        peaks[part, : len(order)] = np.c_[xy, score][order]
        owner[part, : len(order)] = np.r_[there, np.full(noise, -1)][order]
    return peaks, owner


def draw_affinities(
    random: np.random.Generator,
    owner: NDArray[np.int64],
    edges: tuple[tuple[int, int], ...],
    confusion: float,
) -> Float:
    """Affinities [E, P, P], rounded as a graph rounds them."""
    source, target = (owner[list(end)] for end in zip(*edges, strict=True))
    source, target = source[:, :, None], target[:, None]
    values = np.abs(random.normal(0, confusion, (len(edges), owner.shape[1], owner.shape[1])))
    together = random.uniform(0.6, 1, values.shape)
    values = np.where((source == target) & (source >= 0), together, values)
    values[np.broadcast_to((source == -2) | (target == -2), values.shape)] = 0
    return values.round(3).astype(np.float32)


if __name__ == "__main__":
    main()
