"""The labels of one item of a dataset, while it is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors

from .base import Transform
from .boxes import clip_boxes
from .crops import Crop, hide_outside
from .labels import LabeledImage
from .samples import Drawn

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Animals:
    """Labels of A animals, and of U unique bodyparts, in one image.

    Attributes:
        keypoints: float64 [A, K, 3]; x, y, visibility.
        unique: float64 [U, 3].
        boxes: float64 [A, 4]; left, top, width, height.
        individuals, categories, crowd: [A]; as in :class:`LabeledImage`.
    """

    keypoints: Floats
    unique: Floats
    boxes: Floats
    individuals: NDArray[np.int64]
    categories: NDArray[np.int64]
    crowd: NDArray[np.bool_]

    @classmethod
    def of(cls, image: LabeledImage, chosen: NDArray[np.int64], size: tuple[int, int]) -> Animals:
        """The ``chosen`` animals of an image of ``size`` (height, width). Boxes are clipped to it;
        unique bodyparts of which none is labelled count as not defined (-1)."""
        unique = image.unique.astype(np.float64)
        if not (unique[:, :2] > 0).any():
            unique = np.full_like(unique, -1)
        return cls(
            image.keypoints[chosen].astype(np.float64),
            unique,
            clip_boxes(image.boxes[chosen].astype(np.float64), *size),
            image.individuals[chosen],
            image.categories[chosen],
            image.crowd[chosen],
        )

    def first(self) -> Animals:
        """The first animal alone."""
        return self._part(slice(0, 1))

    def rest(self) -> Animals:
        """All animals but the first."""
        return self._part(slice(1, None))

    def transformed(
        self, pixels: NDArray[np.uint8], transform: Transform | None
    ) -> tuple[NDArray[Any], Animals]:
        """``pixels`` [H, W, 3] and these labels after ``transform``.

        A keypoint that lies outside of the image before or after it is hidden, and keeps its
        coordinates. Boxes are clipped to the new image; one that left it becomes zeros.
        """
        outside = hide_outside(self._points(), pixels.shape[:2])[:, 2] != self._points()[:, 2]
        if transform is None:
            image: NDArray[Any] = pixels
            moved = self
        else:
            drawn = transform(self._drawn(pixels))
            image = drawn["image"].permute(1, 2, 0).numpy()
            moved = self._moved(drawn)
        size = image.shape[:2]
        points = moved._points()
        points[outside, 2] = 0
        return image, moved._with_points(hide_outside(points, size))._with_boxes_in(size)

    def hidden(self) -> Animals:
        """With every keypoint of the animals hidden."""
        keypoints = self.keypoints.copy()
        keypoints[..., 2] = 0
        return replace(self, keypoints=keypoints)

    def with_box(self, box: Floats) -> Animals:
        """With ``box`` [4] for the only animal."""
        return replace(self, boxes=box[None])

    def in_crop(self, crop: Crop, box: Floats) -> Animals:
        """The only animal in pixels of ``crop``, which was cut around ``box``. Unique bodyparts
        are not part of crops and stay where they are."""
        return replace(self, keypoints=crop.poses(self.keypoints), boxes=crop.box(box)[None])

    def with_centers(self) -> Animals:
        """With one more keypoint: the mean of the visible ones (DEKR); hidden where none is."""
        seen = self.keypoints[..., 2:] > 0
        count = seen.sum(axis=1)
        center = (self.keypoints[..., :2] * seen).sum(axis=1) / np.maximum(count, 1)
        center = np.concatenate([center, np.where(count > 0, 2, 0)], axis=1)
        return replace(self, keypoints=np.concatenate([self.keypoints, center[:, None]], axis=1))

    def _part(self, part: slice) -> Animals:
        return Animals(
            self.keypoints[part],
            self.unique,
            self.boxes[part],
            self.individuals[part],
            self.categories[part],
            self.crowd[part],
        )

    def _points(self) -> Floats:
        """All keypoints, those of the animals first: [A * K + U, 3], a copy."""
        return np.concatenate([self.keypoints.reshape(-1, 3), self.unique])

    def _with_points(self, points: Floats) -> Animals:
        count = len(points) - len(self.unique)
        keypoints = points[:count].reshape(self.keypoints.shape)
        return replace(self, keypoints=keypoints, unique=points[count:])

    def _with_boxes_in(self, size: tuple[int, int]) -> Animals:
        boxes = clip_boxes(self.boxes, *size)
        boxes[(boxes[:, 2:] <= 0).any(axis=1)] = 0
        return replace(self, boxes=boxes)

    def _drawn(self, pixels: NDArray[np.uint8]) -> Drawn:
        size = pixels.shape[:2]
        keypoints = torch.from_numpy(self.keypoints.astype(np.float32))
        unique = torch.from_numpy(self.unique.astype(np.float32))
        boxes = torch.from_numpy(self.boxes.astype(np.float32))
        return Drawn(
            image=tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1)),
            keypoints=tv_tensors.KeyPoints(keypoints[..., :2], canvas_size=size),
            visibility=keypoints[..., 2],
            unique=tv_tensors.KeyPoints(unique[..., :2], canvas_size=size),
            unique_visibility=unique[..., 2],
            boxes=tv_tensors.BoundingBoxes(boxes, format="XYWH", canvas_size=size),
        )

    def _moved(self, drawn: Drawn) -> Animals:
        return replace(
            self,
            keypoints=_poses(drawn["keypoints"], drawn["visibility"]),
            unique=_poses(drawn["unique"], drawn["unique_visibility"]),
            boxes=drawn["boxes"].numpy().astype(np.float64),
        )


def _poses(points: torch.Tensor, visibility: torch.Tensor) -> Floats:
    return np.concatenate([points.numpy(), visibility.numpy()[..., None]], -1).astype(np.float64)
