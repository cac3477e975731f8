"""``crop_sampling``: random crops of one size, where the animals are (DeepLabCut's
KeypointAwareCrop)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from .base import Array, Params, integer, size_of
from .geometry import AffineTransform

CropMethod = Literal["uniform", "keypoints", "density", "hybrid"]
"""Where crops are taken: anywhere, at a visible keypoint, at one with probability growing with the
number of keypoints around it, or (``hybrid``) one of ``uniform`` and ``density`` at random."""


class CropSampling(AffineTransform):
    """Cuts ``height`` x ``width`` out of an image that is at least that large.

    The crop lies relative to the image as the chosen keypoint, moved right and down by a random
    shift, lies relative to it: a keypoint at the left edge is at the left edge of its crop.
    Keypoints outside of the crop become NaN and are hidden.

    DeepLabCut 3.0.2 also chooses bodyparts that were not labelled, which lie at (0, 0) before
    other transforms move them; here only visible keypoints are chosen.

    Args:
        width: of the crop.
        height: of the crop.
        max_shift: most of a side of the crop that it is shifted; at most 0.4 counts.
        method: where crops are taken.
    """

    def __init__(
        self, width: int, height: int, max_shift: float = 0.4, method: CropMethod = "hybrid"
    ) -> None:
        super().__init__()
        self.size = height, width
        self.max_shift = max(0.0, min(max_shift, 0.4))
        self.method: CropMethod = method

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """The left and top pixel of the crop."""
        place = self._place(flat_inputs).clip(0, np.nextafter(1, 0))
        height, width = size_of(flat_inputs)
        free = np.array([width - self.size[1] + 1, height - self.size[0] + 1])
        left, top = (int(start) for start in free * place)
        return {
            "start": (left, top),
            "size": self.size,
            "points": np.array([[1.0, 0, -left], [0, 1, -top]]),
        }

    def pixels(self, image: Array, params: Params) -> Array:
        """The crop."""
        (left, top), (height, width) = params["start"], params["size"]
        return np.ascontiguousarray(image[top : top + height, left : left + width])

    def points(self, points: Array, params: Params) -> Array:
        """Points in pixels of the crop; NaN outside of it."""
        points = super().points(points, params)
        height, width = params["size"]
        inside = ((points >= 0) & (points < [width, height])).all(axis=-1, keepdims=True)
        return np.where(inside, points, np.nan)

    def _place(self, flat_inputs: list[Any]) -> Array:
        """Where the crop lies between the edges, (x, y); 0 at the left and top, 1 at the others."""
        method = self.method
        if method == "hybrid":
            method = "density" if integer(0, 1) else "uniform"
        points = _visible(flat_inputs)
        if method == "uniform" or len(points) == 0:
            return torch.rand(2, dtype=torch.float64).numpy()
        size = np.array(size_of(flat_inputs))
        weights = np.ones(len(points))
        if method == "density":
            weights = _neighbours(points, 0.1 * size.min())
        chosen = points[int(torch.multinomial(torch.from_numpy(weights), 1))]
        shift = self.max_shift * torch.rand(2, dtype=torch.float64).numpy() * self.size[::-1]
        return np.asarray((chosen + shift) / size[::-1])


def _visible(flat_inputs: list[Any]) -> Array:
    """Visible keypoints, unique ones among them, [N, 2]."""
    _, keypoints, visibility, unique, unique_visibility, _ = flat_inputs
    points = np.concatenate([keypoints.numpy().reshape(-1, 2), unique.numpy()])
    seen = torch.cat([visibility.flatten(), unique_visibility]).numpy() > 0
    chosen: Array = points[seen & np.isfinite(points).all(axis=1)].astype(np.float64)
    return chosen


def _neighbours(points: Array, radius: float) -> Array:
    """How many points lie within ``radius`` of each point, itself included."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return np.asarray((distances <= radius).sum(axis=1), np.float64)
