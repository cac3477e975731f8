"""Boxes around keypoints, as DeepLabCut makes them (``data/utils.py``, bbox_from_keypoints), and
what an image shows of boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def bbox_from_keypoints(
    keypoints: ArrayLike, image_h: int, image_w: int, margin: float
) -> NDArray[np.float64]:
    """The box around the visible keypoints of each animal.

    Args:
        keypoints: [..., K, 3]; x, y in pixels, and visibility or score; 0 and less is not visible.
        image_h: height of the image in pixels.
        image_w: its width.
        margin: pixels between the outer keypoints and the box.

    Returns:
        Float64 [..., 4]; left, top, width, height in pixels, clipped to the image. One visible
        keypoint makes a box of twice the margin; none makes a box of zeros.
    """
    points = np.asarray(keypoints, np.float64)
    xy = points[..., :2]
    seen = (points[..., 2] > 0) & np.isfinite(xy).all(axis=-1)
    low = np.where(seen[..., None], xy, np.inf).min(axis=-2, initial=np.inf) - margin
    high = np.where(seen[..., None], xy, -np.inf).max(axis=-2, initial=-np.inf) + margin
    size = np.array([image_w, image_h], np.float64)
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    boxes: NDArray[np.float64] = np.concatenate([low, high - low], axis=-1)
    return np.where(np.any(seen, axis=-1, keepdims=True), boxes, 0)


def clip_boxes(boxes: NDArray[np.float64], image_h: int, image_w: int) -> NDArray[np.float64]:
    """The parts of ``boxes`` [..., 4] (left, top, width, height) that lie in the image; a box
    outside of it has no extent."""
    size = np.array([image_w, image_h], np.float64)
    low = np.clip(boxes[..., :2], 0, size)
    high = np.clip(boxes[..., :2] + boxes[..., 2:], 0, size)
    clipped: NDArray[np.float64] = np.concatenate([low, high - low], axis=-1)
    return clipped


def clipped_boxes(boxes: NDArray[np.float64], image_h: int, image_w: int) -> NDArray[np.float64]:
    """As :func:`clip_boxes`, for ``boxes`` [B, 4]; those without extent are left out."""
    clipped = clip_boxes(boxes, image_h, image_w)
    return clipped[(clipped[:, 2:] > 0).all(axis=1)]
