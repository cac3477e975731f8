"""Targets of DEKR: heatmaps of keypoints and centres, and offsets around each centre.

As DeepLabCut's models/target_generators/dekr_targets.py defines them: cell (i, j) stands for the
input pixel (j * stride + stride / 2, i * stride + stride / 2). Distances are in cells.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .base import TARGET_GENERATORS, BaseGenerator, Targets

_Window = tuple[slice, slice]


@TARGET_GENERATORS.register_module
class DEKRGenerator(BaseGenerator):
    """Gaussians on ``heatmap``, and ``offset`` = cell - keypoint in the square around the centre.

    Labels are ``keypoints`` [N, I, K + 1, 3] with the animal's centre last, and ``area`` [N, I] in
    square pixels: an animal's offsets weigh 1 / sqrt(area), and where two animals share a cell the
    smaller one has it. An area of 0 weighs as 1, where DeepLabCut's weight is infinite.

    Args:
        num_joints: K.
        pos_dist_thresh: half the side of the square, and the centre's standard deviation, in
            pixels; a keypoint's is half of it.
        bg_weight: weight of the heatmaps away from keypoints.
        options: those of :class:`BaseGenerator`.
    """

    def __init__(
        self, num_joints: int, pos_dist_thresh: int, bg_weight: float = 0.1, **options: Any
    ) -> None:
        super().__init__(**options)
        self.num_joints = num_joints
        self.pos_dist_thresh = pos_dist_thresh
        self.bg_weight = bg_weight

    def forward(
        self, stride: float, outputs: dict[str, Tensor], labels: dict[str, Tensor]
    ) -> Targets:
        """See :class:`BaseGenerator`.

        Raises:
            ValueError: the labels have another number of keypoints.
        """
        keypoints = labels[self.label_keypoint_key].cpu()
        if keypoints.shape[2] != self.num_joints + 1:
            raise ValueError(
                f"DEKRGenerator: expected keypoints [N, individuals, {self.num_joints + 1}, 3] "
                f"with the centre last, got {list(keypoints.shape)}."
            )
        size = outputs["heatmap"].shape[2:]
        images = [
            _ImageTargets(size, self.num_joints, self.pos_dist_thresh / stride)
            for _ in range(len(keypoints))
        ]
        for image, animals, areas in zip(images, keypoints, labels["area"].cpu(), strict=True):
            for animal, area in zip(animals, areas, strict=True):
                image.draw(animal, float(area), stride)
        return self._stacked(images, outputs["heatmap"].device)

    def _stacked(self, images: list[_ImageTargets], device: torch.device) -> Targets:
        weights = torch.stack([image.heatmap_weights for image in images])
        return {
            "heatmap": {
                "target": torch.stack([image.heatmap for image in images]).to(device),
                "weights": weights.nan_to_num(self.bg_weight).to(device),
            },
            "offset": {
                "target": torch.stack([image.offset for image in images]).flatten(1, 2).to(device),
                "weights": torch.stack([image.offset_weights for image in images])
                .flatten(1, 2)
                .to(device),
            },
        }


class _ImageTargets:
    """The targets of one image, drawn animal by animal: later ones draw over earlier ones.

    Attributes:
        heatmap, heatmap_weights: [K + 1, h, w]; weights of the background are NaN.
        offset, offset_weights: [K, 2, h, w].
    """

    def __init__(self, size: torch.Size, keypoints: int, radius: float) -> None:
        height, width = size
        self.radius = radius
        self.rows, self.columns = torch.arange(height), torch.arange(width)
        self.heatmap = torch.zeros(keypoints + 1, height, width)
        self.heatmap_weights = torch.full_like(self.heatmap, math.nan)
        self.offset = torch.zeros(keypoints, 2, height, width)
        self.offset_weights = torch.zeros_like(self.offset)
        self.area = torch.zeros(height, width)

    def draw(self, animal: Tensor, area: float, stride: float) -> None:
        """Draw one animal's keypoints [K + 1, 3]: x, y in input pixels, and visibility."""
        # DeepLabCut takes the centre at a whole pixel.
        centre = (animal[-1, :2].nan_to_num().trunc().double() - stride / 2) / stride
        square = self._square(centre)
        height, width = self.area.shape
        for index, (place, flag) in enumerate(zip(animal[:, :2], animal[:, 2], strict=True)):
            if flag == -1:
                self.heatmap_weights[index] = 0
            if not flag > 0:
                continue
            cell = (place - stride / 2) / stride
            if not (0 <= cell[0] < width and 0 <= cell[1] < height):
                continue
            is_centre = index == len(animal) - 1
            self._draw_gaussian(index, cell, self.radius if is_centre else self.radius / 2)
            if not is_centre:
                self._draw_offset(index, cell, square, area)

    def _draw_gaussian(self, index: int, cell: Tensor, deviation: float) -> None:
        column, row = cell.tolist()
        window = tuple(
            slice(max(0, math.floor(at - 3 * deviation - 1)), math.ceil(at + 3 * deviation + 2))
            for at in (row, column)
        )
        distance = (self.columns[window[1]] - cell[0]) ** 2 + (
            (self.rows[window[0]] - cell[1]) ** 2
        )[:, None]
        heat = torch.exp(-distance / (2 * deviation**2))
        view = self.heatmap[index][window]
        torch.maximum(view, heat.to(view.dtype), out=view)
        self.heatmap_weights[index][window] = 1

    def _draw_offset(self, index: int, cell: Tensor, square: _Window, area: float) -> None:
        rows, columns = self.rows[square[0]], self.columns[square[1]]
        field = torch.stack(
            [
                (columns - cell[0]).expand(len(rows), -1),
                (rows - cell[1])[:, None].expand(-1, len(columns)),
            ]
        )
        drawn = self.offset[index][:, *square]
        taken = (drawn != 0).any(0) & (self.area[square] < area)
        self.offset[index][:, *square] = torch.where(taken, drawn, field.to(drawn.dtype))
        weights = self.offset_weights[index][:, *square]
        self.offset_weights[index][:, *square] = torch.where(taken, weights, (area or 1.0) ** -0.5)
        self.area[square] = torch.where(taken, self.area[square], area)

    def _square(self, centre: Tensor) -> _Window:
        """(rows, columns) no further than the radius from ``centre`` (x, y); ends truncated."""
        column, row = centre.tolist()
        spans = [(int(at - self.radius), int(at + self.radius)) for at in (row, column)]
        first, second = (slice(max(start, 0), max(stop, 0)) for start, stop in spans)
        return first, second
