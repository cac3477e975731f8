"""``covering``: black rectangles over the image (DeepLabCut's CoarseDropout)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .base import Array, DrawnTransform, Params, size_of


class Covering(DrawnTransform):
    """Covers ten rectangles; keypoints under them become NaN and are hidden, boxes stay.

    Args:
        p: probability.
        holes: number of rectangles.
        sides: least and most of the image's sides that those of a rectangle take.
    """

    def __init__(
        self, p: float = 0.5, holes: int = 10, sides: tuple[float, float] = (0.01, 0.05)
    ) -> None:
        super().__init__(p)
        self.holes = holes
        self.sides = sides

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """The rectangles, int64 [holes, 4]; left, top, right, bottom, the last two excluded."""
        limits = np.array(size_of(flat_inputs)[::-1])
        drawn = torch.rand(2, self.holes, 2, dtype=torch.float64).numpy()
        low, high = self.sides
        extents = (limits * (low + (high - low) * drawn[0])).astype(np.int64)
        starts = ((limits - extents + 1) * drawn[1]).astype(np.int64)
        return {"holes": np.concatenate([starts, starts + extents], axis=1)}

    def pixels(self, image: Array, params: Params) -> Array:
        """A copy of the image, black in the rectangles."""
        image = image.copy()
        for left, top, right, bottom in params["holes"]:
            image[top:bottom, left:right] = 0
        return image

    def points(self, points: Array, params: Params) -> Array:
        """Points, NaN where they are covered."""
        holes = params["holes"]
        inside = (points[..., None, :] >= holes[:, :2]) & (points[..., None, :] < holes[:, 2:])
        covered = inside.all(axis=-1).any(axis=-1)
        return np.where(covered[..., None], np.nan, points)
