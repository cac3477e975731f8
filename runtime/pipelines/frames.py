"""Whole frames to network inputs, as DeepLabCut prepares them, and the way back.

Frames stay uint8; the resize is OpenCV's bilinear one on uint8, which is DeepLabCut's (through
albumentations). Sizes and the map back follow deeplabcut's data/transforms.py and
data/preprocessor.py: x_frame = x_input * scale + offset, without a half-pixel term.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dlc_deploy.preprocessing import FramePreprocessing, Padding

Images = NDArray[np.uint8]
Borders = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a network input lies in its frame; scale and offset are (x, y)."""

    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class FramePlan:
    """What to do with every frame of one size.

    Attributes:
        resized: (height, width) to resize to, or None.
        zeros: (height, width) to zero-pad to at the bottom and right, or None.
        mirrored: rows and columns (top, bottom, left, right) to mirror, or None.
    """

    resized: tuple[int, int] | None
    zeros: tuple[int, int] | None
    mirrored: Borders | None
    placement: Placement

    def apply(self, frames: Images) -> Images:
        """Network inputs of frames [N, H, W, 3]; the frames themselves if nothing is to be done."""
        if self.resized is None and self.zeros is None and self.mirrored is None:
            return frames
        return np.stack([self.apply_one(frame) for frame in frames])

    def apply_one(self, frame: Images) -> NDArray[Any]:
        """The network input of a frame [H, W, 3]; the frame itself if nothing is to be done."""
        image: NDArray[Any] = frame
        if self.resized is not None:
            height, width = self.resized
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        if self.zeros is not None:
            bottom, right = self.zeros[0] - image.shape[0], self.zeros[1] - image.shape[1]
            image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=0)
        if self.mirrored is not None:
            image = cv2.copyMakeBorder(image, *self.mirrored, cv2.BORDER_REFLECT_101)
        return image


def plan_frames(spec: FramePreprocessing, height: int, width: int) -> FramePlan:
    """The plan for frames of ``height`` x ``width``."""
    size = _resized(spec, height, width)
    canvas = size
    if spec.resize is not None and spec.resize.keep_ratio and spec.longest_max_size is None:
        canvas = spec.resize.height, spec.resize.width
    borders = _borders(spec.padding, *canvas)
    return FramePlan(
        resized=None if size == (height, width) else size,
        zeros=None if canvas == size else canvas,
        mirrored=borders if any(borders) else None,
        placement=_placement((height, width), size, borders),
    )


def _resized(spec: FramePreprocessing, height: int, width: int) -> tuple[int, int]:
    if spec.resize is not None:
        if not spec.resize.keep_ratio:
            height, width = spec.resize.height, spec.resize.width
        else:
            scale = min(spec.resize.height / height, spec.resize.width / width)
            height, width = int(height * scale), int(width * scale)
    if spec.longest_max_size is not None:
        scale = spec.longest_max_size / max(height, width)
        height, width = round(height * scale), round(width * scale)
    return height, width


def _borders(padding: Padding | None, height: int, width: int) -> Borders:
    if padding is None:
        return 0, 0, 0, 0
    rows, columns = -height % padding.height_divisor, -width % padding.width_divisor
    position = "top_left" if padding.position == "random" else padding.position
    if position == "center":
        top, left = rows // 2, columns // 2
    else:
        top = 0 if position.startswith("top") else rows
        left = 0 if position.endswith("left") else columns
    return top, rows - top, left, columns - left


def _placement(frame: tuple[int, int], resized: tuple[int, int], borders: Borders) -> Placement:
    scale_y, scale_x = frame[0] / resized[0], frame[1] / resized[1]
    top, _, left, _ = borders
    return Placement((scale_x, scale_y), (-left * scale_x, -top * scale_y))
