"""A bundle's golden frame through this machine's engine."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.bundle import PARITY, Bundle, Golden
from dlc_deploy.errors import BundleError, VerificationError
from dlc_deploy.poses import Boxes, Poses

from .estimator import Estimator
from .pipelines import ConditionalTopDown, TopDown

TOLERANCE_PX = 0.01
MIN_SCORE = 0.05
MAX_SCORE_ERROR = 1e-3


@dataclass(frozen=True, slots=True)
class Replay:
    """How far this machine's poses of the golden frame are from the expected ones.

    Attributes:
        points: keypoints, unique bodyparts too, that were compared: those with a score of 0.05 or
            more, or all of them where the golden frame has none.
        px_max: largest distance in pixels of the frame.
        score_max: largest difference of a score or an identity; infinite where an animal or
            keypoint is found that the golden frame does not have.
        boxes_px_max: largest distance of a box's corner; None for a model without a detector.
        conditions_px_max: largest distance of a pose that was refined; None for a bundle without a
            model that finds them.
        tolerance_px: how large any of these distances may be.
    """

    points: int
    px_max: float
    score_max: float
    boxes_px_max: float | None = None
    conditions_px_max: float | None = None
    tolerance_px: float = TOLERANCE_PX

    @property
    def passed(self) -> bool:
        """Whether something was compared and all of it agrees."""
        worst = max(self.px_max, self.boxes_px_max or 0.0, self.conditions_px_max or 0.0)
        return self.points > 0 and worst <= self.tolerance_px and self.score_max <= MAX_SCORE_ERROR

    def __str__(self) -> str:
        px = {"boxes": self.boxes_px_max, "conditions": self.conditions_px_max}
        parts = [f"{self.points} keypoints at most {self.px_max:.3g} px apart"]
        parts += [f"{name} at most {v:.3g} px" for name, v in px.items() if v is not None]
        return ", ".join([*parts, f"scores at most {self.score_max:.2g}"])

    def require(self) -> None:
        """Raise where :attr:`passed` is false.

        Raises:
            VerificationError: this machine gives other poses than the bundle promises.
        """
        if not self.points:
            raise VerificationError(
                "Expected something to compare, but the golden frame of this bundle shows no "
                "animal. Export the snapshot again, with frames with animals in them: "
                "--calibration VIDEO."
            )
        if not self.passed:
            raise VerificationError(
                f"The golden frame does not replay on this machine: expected at most "
                f"{self.tolerance_px} px and {MAX_SCORE_ERROR} in score, got {self}. "
                "Try another --device, or export the snapshot again, on this machine."
            )


def replay_golden(
    estimator: Estimator, golden: Golden, tolerance_px: float = TOLERANCE_PX
) -> Replay:
    """Run the golden frame.

    In a top-down model the crops are cut from the expected boxes or conditions: one that differs in
    its last bit may round to a crop one pixel aside, which is no fault of the pose engine.

    Raises:
        BundleError: the golden poses are not of this model, or not of these frames.
    """
    _check_shape(estimator, golden)
    return replace(_replayed(estimator, golden), tolerance_px=tolerance_px)


def tolerance_of(bundle: Bundle) -> float:
    """Pixels that the export of a bundle accepted; at least those of the contract, since another
    machine rounds otherwise.

    Raises:
        BundleError: the parity report is damaged.
    """
    path = bundle.path / PARITY
    try:
        accepted = json.loads(path.read_text(encoding="utf-8")).get("tolerance_px", TOLERANCE_PX)
        return max(TOLERANCE_PX, float(accepted))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{path}: expected a parity report with its tolerance_px, got: {error}. "
            "Copy the bundle again, or export the snapshot again."
        ) from None


def _replayed(estimator: Estimator, golden: Golden) -> Replay:
    expected = golden.poses
    pipeline = estimator.pipeline
    if isinstance(pipeline, TopDown) and expected.boxes is not None:
        detected = pipeline.detect(pipeline.prepare(golden.frames))
        boxes_px = _farthest(_corners(expected.boxes), _corners(detected.boxes))
        poses = pipeline.poses_in_boxes(golden.frames, expected.boxes)
        return replace(_compare(expected, poses), boxes_px_max=boxes_px)
    if isinstance(pipeline, ConditionalTopDown) and golden.conditions is not None:
        replay = _compare(expected, pipeline.refine(golden.frames, golden.conditions))
        if estimator.bundle.manifest.conditions is None:
            return replay
        found = _compare(golden.conditions, pipeline.find(golden.frames))
        return replace(replay, conditions_px_max=found.px_max)
    return _compare(expected, estimator(golden.frames))


def _check_shape(estimator: Estimator, golden: Golden) -> None:
    manifest, poses = estimator.bundle.manifest, golden.poses
    shape = len(golden.frames), estimator.max_individuals, len(manifest.bodyparts)
    unique = 0 if poses.unique is None else poses.unique.score.shape[2]
    if poses.score.shape != shape or unique != len(manifest.unique_bodyparts):
        raise BundleError(
            f"{estimator.bundle.path}: expected golden poses of {shape} frames, individuals and "
            f"keypoints with {len(manifest.unique_bodyparts)} unique bodyparts, got "
            f"{poses.score.shape} with {unique}. Export the snapshot again."
        )


def _compare(expected: Poses, got: Poses) -> Replay:
    wanted_xy, wanted = _keypoints(expected)
    xy, score = _keypoints(got)
    present, sure = np.isfinite(wanted), wanted >= MIN_SCORE
    invented = ~present & (score >= MIN_SCORE)
    chosen = sure if sure.any() else present
    score_max = max(largest(wanted[chosen] - score[chosen]), _identity_error(expected, got))
    return Replay(
        points=int(chosen.sum()),
        px_max=_farthest(wanted_xy[chosen], xy[chosen]),
        score_max=float("inf") if invented.any() else score_max,
    )


def _keypoints(poses: Poses) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Positions [P, 2] and scores [P] of bodyparts and unique bodyparts."""
    parts = [poses] if poses.unique is None else [poses, poses.unique]
    xy = np.concatenate([part.xy.reshape(-1, 2) for part in parts])
    return xy, np.concatenate([part.score.ravel() for part in parts])


def _identity_error(expected: Poses, got: Poses) -> float:
    """Largest difference of the identities of keypoints that are there."""
    if expected.identity is None or got.identity is None:
        return 0.0
    there = expected.score >= MIN_SCORE
    return largest(expected.identity[there] - got.identity[there])


def largest(differences: NDArray[np.float32]) -> float:
    """The largest of them; infinite where one is NaN, which would pass every tolerance."""
    return float(np.nan_to_num(np.abs(differences), nan=np.inf).max(initial=0.0))


def _corners(boxes: Boxes) -> NDArray[np.float32]:
    """Corners [P, 2] of the boxes that are there."""
    xywh = boxes.xywh[np.isfinite(boxes.score)]
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])


def _farthest(points: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    if points.shape != others.shape:
        return float("inf")
    distance = np.linalg.norm(points - others, axis=-1)
    return float(np.nan_to_num(distance, nan=np.inf).max(initial=0.0))
