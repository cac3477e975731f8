"""``elastic_transform``: smooth random displacements (DeepLabCut's ElasticTransform; Simard et al.,
"Best practices for convolutional neural networks applied to visual document analysis", 2003)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from .base import Array, DrawnTransform, Params, size_of

STEP = 0.25
"""Pixels between the places along which a moved point is looked for; the displacement is smooth
over several pixels."""


class Elastic(DrawnTransform):
    """Moves every pixel by the same amount along both axes, about half a pixel on average.

    The new image shows at (x, y) what was at (x + d, y + d), where d is uniform noise smoothed with
    a Gaussian. Points go to where the new image shows them (the mean of these places, should it be
    more than one); DeepLabCut warps discs around keypoints, which agrees within a pixel.

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
        moved = points.reshape(-1, 2).copy()
        known = np.isfinite(moved).all(axis=1)
        if known.any():
            moved[known] -= _moves_to(params["moves"], moved[known])[:, None]
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


def _moves_to(field: Array, points: Array) -> Array:
    """The moves m with ``field`` m at ``points`` - (m, m), float64 [N].

    Crossings of a line by the field along the diagonal through each point; there is at least one,
    as no move is larger than the largest of the field.
    """
    reach = float(np.abs(field).max()) + STEP
    moves = np.linspace(-reach, reach, 2 * int(np.ceil(reach / STEP)) + 1)
    places = (points[:, None] - moves[:, None]).astype(np.float32)
    there = cv2.remap(
        field, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    gap = moves - there
    before, after = gap[:, :-1], gap[:, 1:]
    crossed = (before < 0) != (after < 0)
    step = moves[1] - moves[0]
    crossing = moves[:-1] + step * before / np.where(crossed, before - after, 1)
    return np.asarray((crossing * crossed).sum(axis=1) / crossed.sum(axis=1))
