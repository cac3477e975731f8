"""Part affinity fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .base import TARGET_GENERATORS, BaseGenerator, Targets


@TARGET_GENERATORS.register_module
class PartAffinityFieldGenerator(BaseGenerator):
    """Fields that point from one bodypart of an animal to another, around the line between them.

    Channels 2e and 2e + 1 are x and y of edge e. The field's length is 1 on the line and falls to 0
    at ``width`` beside it; the last animal wins where two cross. As DeepLabCut's
    models/target_generators/pafs_targets.py (after Cao et al., 2017).

    Args:
        graph: pairs of bodyparts, the edges.
        width: half the width of a field, in pixels.
        options: those of :class:`BaseGenerator`.
    """

    def __init__(self, graph: Sequence[Sequence[int]], width: float, **options: Any) -> None:
        super().__init__(**options)
        self.graph = [(int(first), int(second)) for first, second in graph]
        self.width = width

    def forward(
        self, stride: float, outputs: dict[str, Tensor], labels: dict[str, Tensor]
    ) -> Targets:
        """See :class:`BaseGenerator`; ``paf`` is [N, 2E, h, w] and has no weights."""
        batch, _, height, width = outputs["heatmap"].shape
        device = outputs["paf"].device
        x = (torch.arange(width, device=device) * stride + stride / 2).floor().double()
        y = (torch.arange(height, device=device) * stride + stride / 2).floor().double()
        target = torch.zeros((batch, len(self.graph), 2, height, width), device=device)
        ends = list(zip(*self.graph, strict=True))
        # Image by image and animal by animal: all fields of a batch at once take gigabytes.
        for image, animals in zip(target, labels[self.label_keypoint_key].to(device), strict=True):
            for keypoints in animals:
                first, second = (keypoints[list(end)] for end in ends)
                self._draw(image, first, second, x, y)
        return {"paf": {"target": target.flatten(1, 2)}}

    def _draw(self, image: Tensor, first: Tensor, second: Tensor, x: Tensor, y: Tensor) -> None:
        """Draw an animal's fields over ``image`` [E, 2, h, w].

        Directions keep the precision of the labels and places have twice that, as in DeepLabCut:
        what lies just at an edge of a field hangs on it.

        Args:
            image: changed in place.
            first: keypoints [E, 3] at one end of each edge.
            second: keypoints at the other.
            x: places of the columns [w], in pixels.
            y: places of the rows [h].
        """
        limb = second[:, :2] - first[:, :2]
        # torch's square root of float32 is not always the nearest number
        length = limb.square().sum(1).double().sqrt().to(limb.dtype)
        drawn = (first[:, 2] > 0) & (second[:, 2] > 0) & (length > 0)
        direction = (limb / length[:, None])[drawn]
        starts, stops = first[drawn, :2], second[drawn, :2]
        starting, stopping = ((direction * end).sum(1) for end in (starts, stops))
        beside = starts[:, 1] * direction[:, 0] - starts[:, 0] * direction[:, 1]
        rows, columns = y[:, None], x[None, :]
        across, along = direction[:, 0, None, None], direction[:, 1, None, None]
        forward = across * columns + along * rows
        offset = (rows * across - columns * along - beside[:, None, None]) / self.width
        near = offset.abs() <= 1
        near &= forward >= torch.minimum(starting, stopping)[:, None, None]
        near &= forward <= torch.maximum(starting, stopping)[:, None, None]
        field = direction[:, :, None, None] * (1 - offset.abs())[:, None]
        image[drawn] = torch.where(near[:, None], field.to(image.dtype), image[drawn])
