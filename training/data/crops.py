"""Crops around animals, for the training of top-down models.

They are cut as at run time (:mod:`dlc_deploy.runtime.pipelines.crops`), but from the image that the
transforms give: where they normalise it, what lies outside of the image is zero after the
normalisation, not before. That is what DeepLabCut trains on (``data/dataset.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.preprocessing import CropPreprocessing
from dlc_deploy.runtime.pipelines.crops import plan_crops

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crop:
    """A piece of an image; x_image = x_crop * scale + offset.

    Attributes:
        image: [height, width, 3], in the type of the image.
        offset: (x, y) in pixels of the image.
        scale: (x, y) pixels of the image per pixel of the crop.
    """

    image: NDArray[Any]
    offset: tuple[float, float]
    scale: tuple[float, float]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.image.shape[:2]
        return height, width

    def points(self, points: Floats) -> Floats:
        """Points [..., 2] of the image in pixels of the crop."""
        return (points - self.offset) / self.scale

    def poses(self, poses: Floats) -> Floats:
        """Poses [..., 3] of the image in the crop; visible points outside of it are hidden."""
        moved = np.concatenate([self.points(poses[..., :2]), poses[..., 2:]], axis=-1)
        return hide_outside(moved, self.size)

    def box(self, box: Floats) -> Floats:
        """A box [4] (left, top, width, height) in whole pixels of the crop, with DeepLabCut's
        limit: none of the four numbers exceeds the crop's width - 1."""
        scaled = np.concatenate([self.points(box[:2]), box[2:] / self.scale])
        clipped: Floats = np.clip(np.trunc(scaled), 0, self.size[1] - 1)
        return clipped


def crop_animal(image: NDArray[Any], box: Floats, spec: CropPreprocessing) -> Crop:
    """The crop of ``image`` [H, W, 3] around ``box`` [4] (left, top, width, height)."""
    plan = plan_crops(box[None], spec, *image.shape[:2])
    piece = _empty(image, spec)
    plan.cut(image, 0, piece)
    (x, y), (wide, high) = plan.offset[0].tolist(), plan.scale(spec)[0].tolist()
    return Crop(piece, (x, y), (wide, high))


def blank_crop(image: NDArray[Any], spec: CropPreprocessing) -> Crop:
    """What a box that left the image shows: nothing."""
    piece = _empty(image, spec)
    piece[:] = 0
    return Crop(piece, (0, 0), (1.0, 1.0))


def hide_outside(poses: Floats, size: tuple[int, int]) -> Floats:
    """``poses`` [..., 3], with visibility 0 where a visible point lies outside of an image of that
    (height, width), or is NaN. Edges are inside."""
    x, y, visibility = np.moveaxis(poses, -1, 0)
    inside = (x >= 0) & (x <= size[1]) & (y >= 0) & (y <= size[0])
    hidden = poses.copy()
    hidden[..., 2] = np.where((visibility > 0) & ~inside, 0, visibility)
    return hidden


def _empty(image: NDArray[Any], spec: CropPreprocessing) -> NDArray[Any]:
    return np.empty((spec.height, spec.width, image.shape[2]), image.dtype)
