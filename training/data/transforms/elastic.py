"""``elastic_transform``: smooth random displacements (DeepLabCut's ElasticTransform; Simard et al.,
"Best practices for convolutional neural networks applied to visual document analysis", 2003)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from .base import Array, DrawnTransform, Params, size_of

STEPS = 10
"""Steps that invert the displacement: it changes by less than half a pixel from pixel to pixel, so
each at least halves the error, from a few pixels to under 0.01."""


class Elastic(DrawnTransform):
    """Moves every pixel by the same amount along both axes, about half a pixel on average.

    The new image shows at (x, y) what was at (x + d, y + d), where d is uniform noise smoothed with
    a Gaussian. Points follow by inverting that; DeepLabCut warps discs around keypoints instead,
    which agrees within a fraction of a pixel.

    Args:
        alpha: factor of the smoothed noise.
        sigma: of the Gaussian, in pixels; it is cut to 17 x 17.
        p: probability.
    """

    def __init__(self, alpha: float = 20.0, sigma: float = 5.0, p: float = 0.5) -> None:
        super().__init__(p)
        self.alpha = alpha
        self.sigma = sigma

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """The displacement, float32 [H, W]."""
        noise = torch.rand(size_of(flat_inputs)).mul_(2).sub_(1).numpy()
        return {"moves": self.alpha * cv2.GaussianBlur(noise, (17, 17), self.sigma)}

    def pixels(self, image: Array, params: Params) -> Array:
        """The image, sampled bicubically; black comes in."""
        moves = params["moves"]
        height, width = moves.shape
        x = moves + np.arange(width, dtype=np.float32)
        y = moves + np.arange(height, dtype=np.float32)[:, None]
        return np.asarray(cv2.remap(image, x, y, cv2.INTER_CUBIC))

    def points(self, points: Array, params: Params) -> Array:
        """Where each point comes to lie; NaN stays NaN."""
        if points.size == 0:
            return points
        flat = points.reshape(-1, 2)
        known = np.isfinite(flat).all(axis=1)
        moved = flat.copy()
        for _ in range(STEPS):
            moved[known] = flat[known] - _sampled(params["moves"], moved[known])[:, None]
        return moved.reshape(points.shape)

    def corners(self, corners: Array, params: Params) -> Array:
        """The upright boxes around the moved edges; boxes without area stay."""
        steps = np.linspace(0, 1, 33)
        ends = np.stack([np.zeros_like(steps), np.ones_like(steps)])
        along = np.stack([steps, steps])
        edges = np.concatenate(
            [np.stack([along, ends], -1).reshape(-1, 2), np.stack([ends, along], -1).reshape(-1, 2)]
        )
        start, extent = corners[:, None, :2], (corners[:, 2:] - corners[:, :2])[:, None]
        # Edges of boxes lie half a pixel before the centre of their first pixel.
        outline = self.points(start + extent * edges - 0.5, params) + 0.5
        moved = np.concatenate([outline.min(axis=1), outline.max(axis=1)], axis=1)
        return np.where((extent > 0).all(axis=2), moved, corners)


def _sampled(field: Array, points: Array) -> Array:
    """Values of ``field`` at ``points`` [N, 2], bilinear; the nearest edge outside of it."""
    x, y = points.astype(np.float32).T
    values = cv2.remap(field, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values[0], np.float64)
