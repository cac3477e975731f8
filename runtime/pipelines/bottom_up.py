"""Bottom-up: the pose network sees the whole frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.engine import Engine
from dlc_deploy.manifest import Manifest
from dlc_deploy.poses import Poses

from .frames import Placement, plan_frames

Images = NDArray[np.uint8]


class BottomUp:
    """Frames are resized or padded as the model was trained, then go through the pose graph."""

    def __init__(self, manifest: Manifest, pose: Engine) -> None:
        if manifest.pose.frame is None:
            raise ValueError("A bottom-up bundle needs manifest.pose.frame, got None.")
        self._preprocessing = manifest.pose.frame
        self._pose = pose

    @property
    def engines(self) -> dict[str, Engine]:
        """The pose engine."""
        return {"pose": self._pose}

    @property
    def steps(self) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
        """See :class:`dlc_deploy.runtime.pipelines.Pipeline`."""
        return ("prepare", self.prepare), ("pose", self.estimate)

    def prepare(self, frames: Images) -> tuple[Images, Placement]:
        """Network inputs, and where they lie in the frames."""
        plan = plan_frames(self._preprocessing, *frames.shape[1:3])
        return plan.apply(frames), plan.placement

    def estimate(self, prepared: tuple[Images, Placement]) -> Poses:
        """Poses in pixels of the frames."""
        images, placement = prepared
        poses = self._pose.run({"images": images})["poses"]
        return poses_in_frame(poses, np.array(placement.scale), np.array(placement.offset))


def poses_in_frame(poses: NDArray[np.float32], scale: NDArray[Any], offset: NDArray[Any]) -> Poses:
    """Poses [N, I, K, 3] in input pixels to frame pixels; scale, offset broadcast to [..., 2]."""
    xy = (poses[..., :2] * scale.astype(np.float64) + offset).astype(np.float32)
    return Poses(xy, np.ascontiguousarray(poses[..., 2]))
