"""How far an engine is from the PyTorch graph, in pixels, and whether that passes.

The rule for fp32: at most 0.01 px where the score is 0.05 or more. Frames on which the model is not
sure of anything say little; when no keypoint reaches that score all of them are compared, and the
report says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.engine import Arrays, Engine
from dlc_deploy.errors import VerificationError
from dlc_deploy.grouping import Edge, Grouping, PafGrouping
from dlc_deploy.preprocessing import Value
from dlc_deploy.runtime.replay import MAX_SCORE_ERROR, MIN_SCORE, TOLERANCE_PX, largest

from .reference import Call

# As exact as scores; and they are rounded to three decimals, which can move them by one step more.
MAX_AFFINITY_ERROR = MAX_SCORE_ERROR + 1.001e-3
CHANGED_PEAK_PIXELS = 1.0
DEFAULT_TOLERANCE = {"fp32": TOLERANCE_PX}

Pair = tuple[Arrays, Arrays]
"""Outputs of the reference and of an engine for the same inputs."""


class GraphParity(Value):
    """One graph's distance from its reference.

    Attributes:
        points: keypoints (or box corners) that were compared.
        sure: True if they are those with a score of 0.05 or more, False if all had to be taken.
        px_p50, px_p95, px_p99, px_max: distance in input pixels.
        changed_peaks: share of points that moved by more than 1 px.
        score_max: largest difference of a score, or of a value that says which identity a keypoint
            has.
        affinity_max: largest difference of how well two peaks belong together; None for graphs
            without peaks.
        spread: standard deviation of the positions; 0 would mean that nothing was found anywhere.
    """

    points: int
    sure: bool
    px_p50: float
    px_p95: float
    px_p99: float
    px_max: float
    changed_peaks: float
    score_max: float
    affinity_max: float | None = None
    spread: float

    @classmethod
    def of_nothing(cls) -> GraphParity:
        """The graph found nothing anywhere: there was nothing to compare."""
        return cls(
            points=0,
            sure=False,
            px_p50=0,
            px_p95=0,
            px_p99=0,
            px_max=0,
            changed_peaks=0,
            score_max=0,
            spread=0,
        )


class Parity(Value):
    """``parity.json``: what was compared, and what came out."""

    reference: str
    engine: str
    frames: int
    frames_from: str
    tolerance_px: float
    graphs: dict[str, GraphParity]

    @property
    def passed(self) -> bool:
        """Whether every graph is within the tolerance, on at least one point."""
        return all(
            graph.points > 0
            and graph.px_max <= self.tolerance_px
            and graph.score_max <= MAX_SCORE_ERROR
            and (graph.affinity_max or 0) <= MAX_AFFINITY_ERROR
            for graph in self.graphs.values()
        )

    def require(self) -> None:
        """Raise where :attr:`passed` is false.

        Raises:
            VerificationError: the engine differs beyond the tolerance.
        """
        if self.passed:
            return
        silent = [name for name, graph in self.graphs.items() if not graph.points]
        if silent:
            raise VerificationError(
                f"Expected something to compare, but the {' and the '.join(silent)} graph found "
                f"nothing in {self.frames} frames ({self.frames_from}). Nothing was written. "
                "Pass frames with animals in them: --calibration VIDEO."
            )
        lines = [
            f"  {name}: {g.points} points, max {g.px_max:.4g} px, score max {g.score_max:.2g}"
            + ("" if g.affinity_max is None else f", affinity max {g.affinity_max:.2g}")
            for name, g in self.graphs.items()
        ]
        raise VerificationError(
            f"{self.engine} differs from {self.reference}: expected at most {self.tolerance_px} px "
            f"and a score within {MAX_SCORE_ERROR}, got\n" + "\n".join(lines) + "\n"
            "Nothing was written. If this is close enough for you, pass --tolerance PX."
        )


def replay(calls: Sequence[Call], engine: Engine) -> list[Pair]:
    """(reference outputs, outputs of ``engine``) on the same inputs.

    Inputs of one shape go through as one batch, so that the free batch axis is tried as well.
    """
    pairs = []
    for group in _of_one_shape(calls):
        inputs = _joined([call.inputs for call in group])
        pairs.append((_joined([call.outputs for call in group]), engine.run(inputs)))
    return pairs


def compare(calls: Sequence[Call], engine: Engine, grouping: Grouping | None = None) -> GraphParity:
    """Distance of ``engine`` from the recorded reference ``calls``.

    Outputs are those of :class:`dlc_deploy.manifest.PoseGraph` and its ``grouping``, or ``boxes``
    [N, D, 4] with ``scores`` [N, D].
    """
    if not calls:
        return GraphParity.of_nothing()
    pairs = replay(calls, engine)
    if isinstance(grouping, PafGrouping):
        pairs = [(wanted, in_order_of(wanted, got, grouping.edges)) for wanted, got in pairs]
    wanted = [points_of(reference) for reference, _ in pairs]
    got = [points_of(outputs) for _, outputs in pairs]
    xy, score = (np.concatenate([points[i] for points in wanted]) for i in range(2))
    other_xy, other_score = (np.concatenate([points[i] for points in got]) for i in range(2))
    sure = bool((score >= MIN_SCORE).any())
    chosen = score >= MIN_SCORE if sure else np.isfinite(xy).all(axis=1)
    summary = _summary(xy[chosen], score[chosen], other_xy[chosen], other_score[chosen], sure)
    values: dict[str, float] = {"score_max": max(summary.score_max, _identity_error(pairs))}
    if isinstance(grouping, PafGrouping):
        values["affinity_max"] = _affinity_error(pairs, grouping.edges)
    return summary.model_copy(update=values)


def _summary(
    xy: NDArray[np.float32],
    score: NDArray[np.float32],
    other_xy: NDArray[np.float32],
    other_score: NDArray[np.float32],
    sure: bool,
) -> GraphParity:
    if not len(xy):
        return GraphParity.of_nothing()
    # NaN would pass every comparison with a tolerance.
    px = np.nan_to_num(np.linalg.norm(xy - other_xy, axis=1), nan=np.inf)
    # Measured distances, not between them: infinity has no place between.
    p50, p95, p99 = np.percentile(px, [50, 95, 99], method="higher")
    return GraphParity(
        points=len(px),
        sure=sure,
        px_p50=float(p50),
        px_p95=float(p95),
        px_p99=float(p99),
        px_max=float(px.max()),
        changed_peaks=float((px > CHANGED_PEAK_PIXELS).mean()),
        score_max=largest(score - other_score),
        spread=float(xy.std(axis=0).max()),
    )


def points_of(outputs: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Positions [P, 2] and scores [P] of keypoints, or of both corners of each box; NaN where
    there is no box."""
    if "boxes" in outputs:
        present = outputs["scores"][..., None] > 0
        corners = np.where(present, outputs["boxes"], np.float32(np.nan))
        return corners.reshape(-1, 2), outputs["scores"].reshape(-1).repeat(2)
    names = [name for name in ("poses", "peaks", "unique") if name in outputs]
    points = np.concatenate([outputs[name].reshape(-1, 3) for name in names])
    return points[:, :2], points[:, 2]


def in_order_of(reference: Arrays, outputs: Arrays, edges: Sequence[Edge]) -> Arrays:
    """``outputs`` with each bodypart's peaks in the order of the nearest peaks of ``reference``.

    Peaks come best first; two that are equally good but for rounding may change places.
    """
    wanted, found = reference["peaks"], outputs["peaks"]
    distance = np.linalg.norm(wanted[..., :, None, :2] - found[..., None, :, :2], axis=-1)
    distance[np.broadcast_to(found[..., None, :, 2] <= 0, distance.shape)] = np.inf
    # Peaks that are nowhere, and places without a peak, stay where they are.
    places = np.arange(wanted.shape[2])
    order = np.where(distance.min(-1) < CHANGED_PEAK_PIXELS, distance.argmin(-1), places)
    first, second = (order[:, [edge[side] for edge in edges]] for side in range(2))
    affinities = np.take_along_axis(outputs["affinities"], first[..., None], axis=2)
    ordered = {
        name: np.take_along_axis(outputs[name], order[..., None], axis=2)
        for name in ("peaks", "identity")
        if name in outputs
    }
    affinities = np.take_along_axis(affinities, second[..., None, :], axis=3)
    return {**outputs, **ordered, "affinities": affinities}


def _identity_error(pairs: Sequence[Pair]) -> float:
    """Largest difference of the identities of sure keypoints."""
    worst = 0.0
    for wanted, got in pairs:
        if "identity" in wanted:
            sure = wanted["peaks" if "peaks" in wanted else "poses"][..., 2] >= MIN_SCORE
            worst = max(worst, largest(wanted["identity"][sure] - got["identity"][sure]))
    return worst


def _affinity_error(pairs: Sequence[Pair], edges: Sequence[Edge]) -> float:
    """Largest difference of the affinities of sure peaks."""
    worst = 0.0
    for wanted, got in pairs:
        sure = wanted["peaks"][..., 2] >= MIN_SCORE
        first, second = (sure[:, [edge[side] for edge in edges]] for side in range(2))
        both = first[..., :, None] & second[..., None, :]
        worst = max(worst, largest(wanted["affinities"][both] - got["affinities"][both]))
    return worst


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _of_one_shape(calls: Sequence[Call]) -> list[list[Call]]:
    groups: dict[tuple[tuple[int, ...], ...], list[Call]] = {}
    for call in calls:
        shapes = tuple(value.shape[1:] for value in call.inputs.values())
        groups.setdefault(shapes, []).append(call)
    return list(groups.values())
