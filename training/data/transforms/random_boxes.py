"""``random_bbox_transform``: shifted and scaled boxes (DeepLabCut's RandomBBoxTransform, after
MMPose's), so that a top-down model learns from crops as a detector would cut them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .base import Array, DrawnTransform, Params

Range = tuple[float, float]


class RandomBoxes(DrawnTransform):
    """Shifts and scales each box; image and keypoints stay.

    Args:
        shift_factor: most of its sides that a box is shifted.
        shift_prob: probability of a box being shifted.
        scale_factor: least and largest factor of each side.
        scale_prob: probability of a box being scaled.
        p: probability of the whole.
    """

    def __init__(
        self,
        shift_factor: float = 0.1,
        shift_prob: float = 0.25,
        scale_factor: Range = (0.75, 1.25),
        scale_prob: float = 1.0,
        p: float = 1.0,
    ) -> None:
        super().__init__(p)
        self.shift_factor = shift_factor
        self.shift_prob = shift_prob
        self.scale_factor = scale_factor
        self.scale_prob = scale_prob

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """Factors of the sides and shifts in sides, float64 [A, 2] each."""
        count = len(flat_inputs[-1])
        scaled = _chosen(count, self.scale_prob)
        scales = _truncated_normal(count, *self.scale_factor)
        shifted = _chosen(count, self.shift_prob)
        shifts = _truncated_normal(count, -self.shift_factor, self.shift_factor)
        return {"scales": np.where(scaled, scales, 1), "shifts": np.where(shifted, shifts, 0)}

    def corners(self, corners: Array, params: Params) -> Array:
        """Boxes around their shifted centres."""
        extent = corners[:, 2:] - corners[:, :2]
        center = corners[:, :2] + extent / 2 + params["shifts"] * extent
        half = params["scales"] * extent / 2
        return np.concatenate([center - half, center + half], axis=1)


def _chosen(count: int, probability: float) -> Array:
    return (torch.rand(count, 1, dtype=torch.float64) < probability).numpy()


def _truncated_normal(count: int, low: float, high: float) -> Array:
    """[count, 2] from the standard normal distribution between ``low`` and ``high``."""
    ends = torch.special.ndtr(torch.tensor([low, high], dtype=torch.float64))
    share = ends[0] + (ends[1] - ends[0]) * torch.rand(count, 2, dtype=torch.float64)
    return np.asarray(torch.special.ndtri(share).clamp(low, high).numpy())
