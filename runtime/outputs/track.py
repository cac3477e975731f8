"""Poses of a whole video, as DeepLabCut's files want them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.manifest import Manifest
from dlc_deploy.poses import Poses

Float = NDArray[np.float32]
ABSENT = np.float32(-1)


def is_multi_animal(manifest: Manifest) -> bool:
    """Whether DeepLabCut's files of a project tell individuals apart; only projects for several
    animals can have unique bodyparts."""
    return len(manifest.individuals) > 1 or bool(manifest.unique_bodyparts)


@dataclass(frozen=True, slots=True)
class Track:
    """Poses of consecutive frames of a video.

    Attributes:
        start: number of the first frame.
        poses: one entry for each frame; those of undecodable frames are NaN.
        missing: numbers of the frames that could not be decoded.
    """

    manifest: Manifest
    start: int
    poses: Poses
    missing: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def individuals(self) -> tuple[str, ...]:
        """Names of the individuals."""
        return self.manifest.individuals[: self.poses.score.shape[1]]

    def bodyparts(self) -> Float:
        """Float32 [N, I, K, 3]: x, y, likelihood, with -1 for an absent individual."""
        return self._filled(self.poses)

    def unique_bodyparts(self) -> Float | None:
        """Float32 [N, 1, U, 3], or None where the project has none."""
        return None if self.poses.unique is None else self._filled(self.poses.unique)

    def identities(self) -> NDArray[np.float64] | None:
        """Float64 [N, I, K, names], with -1 for an absent individual, or None where the model does
        not tell them apart."""
        if self.poses.identity is None:
            return None
        values = self.poses.identity.astype(np.float64)
        values[np.isnan(values)] = ABSENT
        values[self._missing_rows()] = np.nan
        return values

    def boxes(self) -> tuple[Float, Float] | None:
        """Float32 [N, B, 4] (left, top, width, height) and [N, B] scores, with -1 for no box."""
        if self.poses.boxes is None:
            return None
        absent = np.isnan(self.poses.boxes.score)
        xywh = np.where(absent[..., None], ABSENT, self.poses.boxes.xywh)
        return xywh, np.where(absent, ABSENT, self.poses.boxes.score)

    def _filled(self, poses: Poses) -> Float:
        values = np.concatenate([poses.xy, poses.score[..., None]], axis=-1)
        values[np.isnan(poses.score)] = ABSENT
        values[self._missing_rows()] = np.nan
        return values

    def _missing_rows(self) -> list[int]:
        return [frame - self.start for frame in sorted(self.missing)]


def assemble(
    manifest: Manifest, start: int, parts: list[tuple[tuple[int, ...], Poses]], missing: set[int]
) -> Track:
    """A track of (frame numbers, poses) parts in order, with gaps where frames are ``missing``."""
    found = Poses.concatenate([poses for _, poses in parts])
    numbers = np.array([number for indices, _ in parts for number in indices]) - start
    count = len(numbers) + len(missing)
    if not missing:
        return Track(manifest, start, found)
    whole = Poses.absent(count, found)
    _place(whole, found, numbers)
    return Track(manifest, start, whole, frozenset(missing))


def _place(whole: Poses, found: Poses, numbers: NDArray[np.int64]) -> None:
    whole.xy[numbers], whole.score[numbers] = found.xy, found.score
    if whole.boxes is not None and found.boxes is not None:
        whole.boxes.xywh[numbers] = found.boxes.xywh
        whole.boxes.score[numbers] = found.boxes.score
    if whole.unique is not None and found.unique is not None:
        _place(whole.unique, found.unique, numbers)
    if whole.identity is not None and found.identity is not None:
        whole.identity[numbers] = found.identity
