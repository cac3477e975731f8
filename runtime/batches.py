"""Frames of a video gathered into batches, with every frame accounted for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .video.reader import Frame


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive decoded frames on their way through a pipeline.

    Attributes:
        indices: frame numbers in the container.
        frames: uint8 [N, H, W, 3] RGB.
        value: what the step before made of them; the frames themselves at first.
    """

    indices: tuple[int, ...]
    frames: NDArray[np.uint8]
    value: Any

    def with_value(self, value: Any) -> Batch:
        """The same frames with the next step's value."""
        return replace(self, value=value)


@dataclass(slots=True)
class Account:
    """What became of the frames of a video.

    Attributes:
        seen: frames that came out of the container.
        missing: frame number to the reason why it has no pose.
        first_pts_seconds, last_pts_seconds: presentation times of the first and last seen frame.
    """

    seen: int = 0
    missing: dict[int, str] = field(default_factory=dict)
    first_pts_seconds: float | None = None
    last_pts_seconds: float | None = None

    def add(self, frame: Frame) -> None:
        """Count one frame."""
        self.seen += 1
        if frame.rgb is None:
            self.missing[frame.index] = frame.problem or "not decoded"
        if frame.pts_seconds is not None:
            if self.first_pts_seconds is None:
                self.first_pts_seconds = frame.pts_seconds
            self.last_pts_seconds = frame.pts_seconds


def batches(frames: Iterable[Frame], size: int, account: Account) -> Iterator[Batch]:
    """Batches of up to ``size`` frames of one shape; undecodable frames only reach ``account``."""
    waiting: list[Frame] = []
    for frame in frames:
        account.add(frame)
        if frame.rgb is None:
            continue
        if waiting and (len(waiting) == size or _shape(waiting[0]) != _shape(frame)):
            yield _batch(waiting)
            waiting = []
        waiting.append(frame)
    if waiting:
        yield _batch(waiting)


def _shape(frame: Frame) -> tuple[int, ...]:
    return () if frame.rgb is None else frame.rgb.shape


def _batch(frames: list[Frame]) -> Batch:
    images = np.stack([frame.rgb for frame in frames if frame.rgb is not None])
    return Batch(tuple(frame.index for frame in frames), images, images)
