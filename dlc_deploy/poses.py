"""The values that leave an estimator.

Shape legend: N frames, I individuals, K keypoints (bodyparts), U unique bodyparts, B boxes.
Coordinates are pixels of the frame that was given, x to the right, y down; the centre of the
top-left pixel is (0, 0) in DeepLabCut's files, and so it is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Detections of N frames, best first, padded to B with NaN boxes of score NaN.

    Attributes:
        xywh: float32 [N, B, 4]; left, top, width, height. Not clipped to the frame.
        score: float32 [N, B].
    """

    xywh: Float
    score: Float

    def __post_init__(self) -> None:
        if self.xywh.shape != (*self.score.shape, 4) or self.score.ndim != 2:
            raise ValueError(
                f"Expected boxes [N, B, 4] with scores [N, B], "
                f"got {self.xywh.shape} and {self.score.shape}."
            )

    def __repr__(self) -> str:
        return f"Boxes(frames={len(self.score)}, boxes={self.score.shape[1]})"

    def __getitem__(self, frames: slice) -> Boxes:
        return Boxes(self.xywh[frames], self.score[frames])


@dataclass(frozen=True, slots=True)
class Poses:
    """Poses of N frames.

    An absent individual is NaN in ``xy`` and in ``score``; an absent keypoint of a present
    individual is NaN in ``xy`` and 0 in ``score``.

    Attributes:
        xy: float32 [N, I, K, 2].
        score: float32 [N, I, K].
        boxes: what the detector of a top-down model saw, or None.
        unique: unique bodyparts as Poses with I = 1 and K = U, or None.
        identity: float32 [N, I, K, names], how much each keypoint looks like each named individual
            of the project, for models with an identity head; or None. Row i is then the pose that
            was assigned the name of individual i.
    """

    xy: Float
    score: Float
    boxes: Boxes | None = None
    unique: Poses | None = None
    identity: Float | None = None

    def __post_init__(self) -> None:
        if self.xy.shape != (*self.score.shape, 2) or self.score.ndim != 3:
            raise ValueError(
                f"Expected xy [N, I, K, 2] with score [N, I, K], "
                f"got {self.xy.shape} and {self.score.shape}."
            )
        if self.identity is not None and self.identity.shape[:-1] != self.score.shape:
            raise ValueError(
                f"Expected identity [N, I, K, names] with score [N, I, K], "
                f"got {self.identity.shape} and {self.score.shape}."
            )

    def __len__(self) -> int:
        return len(self.score)

    def __repr__(self) -> str:
        frames, individuals, keypoints = self.score.shape
        return f"Poses(frames={frames}, individuals={individuals}, keypoints={keypoints})"

    def __getitem__(self, frames: slice) -> Poses:
        return Poses(
            self.xy[frames],
            self.score[frames],
            None if self.boxes is None else self.boxes[frames],
            None if self.unique is None else self.unique[frames],
            None if self.identity is None else self.identity[frames],
        )

    @classmethod
    def absent(cls, frames: int, like: Poses) -> Poses:
        """Poses of ``frames`` frames in which nothing was found, shaped as ``like``."""

        def empty(values: Float) -> Float:
            return np.full((frames, *values.shape[1:]), np.nan, np.float32)

        boxes = (
            None if like.boxes is None else Boxes(*map(empty, (like.boxes.xywh, like.boxes.score)))
        )
        unique = None if like.unique is None else cls.absent(frames, like.unique)
        identity = None if like.identity is None else empty(like.identity)
        return cls(empty(like.xy), empty(like.score), boxes, unique, identity)

    @classmethod
    def concatenate(cls, parts: Sequence[Poses]) -> Poses:
        """Poses of consecutive frames joined in order; ``parts`` is not empty."""
        boxes = [part.boxes for part in parts if part.boxes is not None]
        unique = [part.unique for part in parts if part.unique is not None]
        identity = [part.identity for part in parts if part.identity is not None]
        return cls(
            np.concatenate([part.xy for part in parts]),
            np.concatenate([part.score for part in parts]),
            Boxes(np.concatenate([b.xywh for b in boxes]), np.concatenate([b.score for b in boxes]))
            if boxes
            else None,
            cls.concatenate(unique) if unique else None,
            np.concatenate(identity) if identity else None,
        )
