"""Conditional top-down: poses that are there already are refined, one crop for each.

As deeplabcut's CTDInferenceRunner with its preprocessor and postprocessor do (BUCTD, Zhou et al.,
ICCV 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.engine import Engine
from dlc_deploy.errors import UsageError
from dlc_deploy.manifest import Manifest
from dlc_deploy.poses import Boxes, Poses
from dlc_deploy.preprocessing import ConditionPreprocessing

from .crops import Crops, cut_crops, poses_of_crops

if TYPE_CHECKING:
    from . import Pipeline

Images = NDArray[np.uint8]
Float = NDArray[np.float32]
Steps = tuple[tuple[str, Callable[[Any], Any]], ...]
_MIN_AREA = 1.0


@dataclass(frozen=True, slots=True)
class Conditioned:
    """Frames, and the poses in them that are to be refined."""

    frames: Images
    conditions: Poses


@dataclass(frozen=True, slots=True)
class Cropped:
    """One crop for each condition that is worth refining.

    Attributes:
        boxes: around the conditions, with their mean scores.
        crops: of these boxes.
        conditions: float32 [C, K, 3]; the pose of each crop, in pixels of the crop.
    """

    boxes: Boxes
    crops: Crops
    conditions: Float


class ConditionalTopDown:
    """Refines poses from another pipeline, or poses that are given.

    Args:
        manifest: of the bundle.
        pose: the engine of its pose graph.
        max_individuals: animals that are refined: of more conditions, those of the highest mean
            score.
        conditions: where the poses come from when frames alone are given.
    """

    def __init__(
        self, manifest: Manifest, pose: Engine, max_individuals: int, conditions: Pipeline | None
    ) -> None:
        if manifest.pose.crop is None or manifest.pose.condition is None:
            raise ValueError("A conditional bundle needs manifest.pose.crop and .condition.")
        self._crop, self._condition = manifest.pose.crop, manifest.pose.condition
        self._keypoints = len(manifest.bodyparts)
        self._individuals = max_individuals
        self._pose, self._conditions = pose, conditions

    @property
    def engines(self) -> dict[str, Engine]:
        """The pose engine, and those that find conditions, as ``conditions`` and
        ``conditions_detector``."""
        found = {} if self._conditions is None else self._conditions.engines
        return {"pose": self._pose} | {
            "conditions" if name == "pose" else f"conditions_{name}": engine
            for name, engine in found.items()
        }

    @property
    def finding_steps(self) -> Steps:
        """The steps from frames to the conditions in them.

        Raises:
            UsageError: nothing finds conditions.
        """
        if self._conditions is None:
            raise UsageError(
                "A conditional top-down model refines poses, and this bundle has no model that "
                "finds any. Give them with --conditions: a bundle of a bottom-up model of the same "
                "bodyparts, or a file of its poses; or export the model with its conditions."
            )
        return self._conditions.steps

    @property
    def steps(self) -> Steps:
        """See :class:`dlc_deploy.runtime.pipelines.Pipeline`.

        Raises:
            UsageError: nothing finds conditions.
        """
        (first, begin), *others = self.finding_steps
        return (
            (f"conditions {first}", lambda frames: (frames, begin(frames))),
            *((f"conditions {name}", _beside_frames(step)) for name, step in others),
            ("crop", lambda found: self.crop(Conditioned(*found))),
            ("pose", self.estimate),
        )

    @property
    def refining_steps(self) -> Steps:
        """The steps where conditions are known; the first takes :class:`Conditioned`."""
        return ("crop", self.crop), ("pose", self.estimate)

    def find(self, frames: Images) -> Poses:
        """The poses that are to be refined, in pixels of the frames, and nothing beside them."""
        value: Any = frames
        for _, step in self.finding_steps:
            value = step(value)
        conditions: Poses = value
        return Poses(conditions.xy, conditions.score)

    def refine(self, frames: Images, conditions: Poses) -> Poses:
        """Poses of animals whose poses are roughly known, without a conditions model."""
        return self.estimate(self.crop(Conditioned(frames, conditions)))

    def crop(self, conditioned: Conditioned) -> Cropped:
        """One crop for each condition."""
        frames, found = conditioned.frames, conditioned.conditions
        if found.xy.shape[0] != len(frames) or found.xy.shape[2] != self._keypoints:
            raise ValueError(
                f"Expected conditions of {len(frames)} frames and {self._keypoints} keypoints, "
                f"got {found}."
            )
        poses = np.concatenate([found.xy, found.score[..., None]], axis=-1, dtype=np.float32)
        boxes = boxes_around(poses, self._condition.bbox_margin, *frames.shape[1:3])
        rows = chosen(poses, boxes, self._condition, self._individuals)
        poses, boxes = (_taken(values, rows) for values in (poses, boxes))
        crops = cut_crops(frames, boxes, self._crop)
        given = poses[tuple(crops.places.T)]
        given[..., :2] = (given[..., :2] - crops.offset[:, None]) / crops.scale[:, None]
        given[..., 2] = np.nan_to_num(given[..., 2])
        return Cropped(Boxes(boxes.astype(np.float32), _mean_score(poses)), crops, given)

    def estimate(self, cropped: Cropped) -> Poses:
        """Poses in pixels of the frames; individuals in the order of the conditions.

        All keypoints of an animal have one score, as in DeepLabCut: see :func:`rescored`.
        """
        shape = cropped.boxes.score.shape
        poses = poses_of_crops(
            self._pose,
            cropped.crops,
            shape,
            self._keypoints,
            at_once=shape[0],
            conditions=cropped.conditions,
        )
        place = tuple(cropped.crops.places.T)
        cutoff, conditions = self._condition.rescore_cutoff, cropped.conditions[..., 2]
        poses.score[place] = rescored(poses.score[place], conditions, cutoff)[:, None]
        return Poses(poses.xy, poses.score, cropped.boxes)


def boxes_around(poses: Float, margin: int, height: int, width: int) -> NDArray[np.float64]:
    """Boxes [N, I, 4] (left, top, width, height) around the keypoints of ``poses`` [N, I, K, 3]
    that have a score, ``margin`` pixels wider on each side, clipped to the frame; 0 where a pose
    has none."""
    seen = (poses[..., 2] > 0)[..., None] & np.isfinite(poses[..., :2])
    first = np.where(seen, poses[..., :2], np.inf).min(axis=-2) - margin
    last = np.where(seen, poses[..., :2], -np.inf).max(axis=-2) + margin
    anything = seen.any(axis=-2)
    limits = np.array([width, height], np.float64)
    corners = [np.clip(np.where(anything, c, 0), 0, limits) for c in (first, last)]
    return np.concatenate([corners[0], corners[1] - corners[0]], axis=-1)


def chosen(
    poses: Float, boxes: NDArray[np.float64], spec: ConditionPreprocessing, individuals: int
) -> NDArray[np.int64]:
    """Which poses are refined: their rows [N, ``individuals``], in order, then -1.

    Dropped are poses without a keypoint right of and below the frame's corner, poses whose best
    score is too low, and boxes of less than a pixel; of too many, those of the lowest mean score.
    """
    score = np.nan_to_num(poses[..., 2])
    inside = (poses[..., :2] > 0).all(axis=-1) & (score > 0)
    valid = inside.any(axis=-1) & (score.max(axis=-1) >= spec.min_score)
    valid &= boxes[..., 2] * boxes[..., 3] >= _MIN_AREA
    rank = np.argsort(np.argsort(np.where(valid, -score.mean(axis=-1), np.inf), kind="stable"))
    valid &= rank < individuals
    rows = np.argsort(~valid, axis=-1, kind="stable")[:, :individuals]
    rows = np.where(np.take_along_axis(valid, rows, axis=-1), rows, -1)
    missing = individuals - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing)), constant_values=-1)


def rescored(score: Float, condition: Float, cutoff: float) -> Float:
    """Scores [C] of animals with keypoint scores [C, K]: the mean score of the condition times the
    mean of the scores from ``cutoff`` on (0 where there is none)."""
    sure = score >= np.float32(cutoff)
    mean = np.where(sure, score, 0).sum(axis=1) / np.maximum(sure.sum(axis=1), 1)
    return np.asarray(condition.mean(axis=1) * mean, np.float32)


def _taken(values: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """``values`` [N, A, ...] at ``rows`` [N, I], NaN where the row is -1."""
    nothing = np.full((len(values), 1, *values.shape[2:]), np.nan, values.dtype)
    padded = np.concatenate([values, nothing], axis=1)
    return padded[np.arange(len(rows))[:, None], rows]


def _mean_score(poses: Float) -> Float:
    return np.asarray(poses[..., 2].mean(axis=-1), np.float32)


def _beside_frames(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda found: (found[0], step(found[1]))
