"""Top-down: a detector finds the animals, the pose network sees one crop for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.engine import Engine
from dlc_deploy.manifest import Manifest
from dlc_deploy.poses import Boxes, Poses

from .crops import Crops, cut_crops, poses_of_crops
from .frames import Placement, plan_frames

Images = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Frames, and what the detector sees of them."""

    frames: Images
    images: Images
    placement: Placement


@dataclass(frozen=True, slots=True)
class Detected:
    """Frames, and the boxes of the animals in them."""

    frames: Images
    boxes: Boxes


@dataclass(frozen=True, slots=True)
class Cropped:
    """Boxes, and one crop for each that is valid."""

    boxes: Boxes
    crops: Crops


class TopDown:
    """As DeepLabCut's: the best ``max_individuals`` boxes are cropped, whatever their score."""

    def __init__(
        self, manifest: Manifest, detector: Engine, pose: Engine, max_individuals: int
    ) -> None:
        if manifest.pose.crop is None or manifest.detector is None:
            raise ValueError("A top-down bundle needs manifest.pose.crop and manifest.detector.")
        self._preprocessing = manifest.detector.frame
        self._crop = manifest.pose.crop
        self._keypoints = len(manifest.bodyparts)
        self._individuals = max_individuals
        self._detector, self._pose = detector, pose

    @property
    def engines(self) -> dict[str, Engine]:
        """The detector's and the pose engine."""
        return {"detector": self._detector, "pose": self._pose}

    @property
    def steps(self) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
        """See :class:`dlc_deploy.runtime.pipelines.Pipeline`."""
        return (
            ("prepare", self.prepare),
            ("detect", self.detect),
            ("crop", self.crop),
            ("pose", self.estimate),
        )

    def poses_in_boxes(self, frames: Images, boxes: Boxes) -> Poses:
        """Poses of animals whose boxes are known, without the detector."""
        return self.estimate(self.crop(Detected(frames, boxes)))

    def prepare(self, frames: Images) -> Prepared:
        """What the detector sees, and where it lies in the frames."""
        plan = plan_frames(self._preprocessing, *frames.shape[1:3])
        return Prepared(frames, plan.apply(frames), plan.placement)

    def detect(self, prepared: Prepared) -> Detected:
        """The best boxes of each frame, in pixels of the frame."""
        found = self._detector.run({"images": prepared.images})
        corners = found["boxes"][:, : self._individuals]
        score = found["scores"][:, : self._individuals]
        return Detected(prepared.frames, boxes_in_frame(corners, score, prepared.placement))

    def crop(self, detected: Detected) -> Cropped:
        """One crop for each box."""
        return Cropped(detected.boxes, cut_crops(detected.frames, detected.boxes.xywh, self._crop))

    def estimate(self, cropped: Cropped) -> Poses:
        """Poses in pixels of the frames; individuals in the order of the boxes."""
        shape = cropped.boxes.score.shape
        poses = poses_of_crops(self._pose, cropped.crops, shape, self._keypoints, at_once=shape[0])
        return Poses(poses.xy, poses.score, cropped.boxes)


def boxes_in_frame(
    corners: NDArray[np.float32], score: NDArray[np.float32], placement: Placement
) -> Boxes:
    """Corners [N, B, 4] in detector pixels to Boxes; score 0 marks a place without a box."""
    scale, offset = np.array([placement.scale, placement.offset], np.float32)
    left_top, right_bottom = corners[..., :2], corners[..., 2:]
    xywh = np.concatenate([left_top * scale + offset, (right_bottom - left_top) * scale], axis=-1)
    absent = score <= 0
    xywh[absent] = np.nan
    return Boxes(xywh, np.where(absent, np.float32(np.nan), score))
