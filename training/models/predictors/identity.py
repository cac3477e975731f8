"""How much each place of an image looks like each named individual."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional

from .base import PREDICTORS, BasePredictor, Outputs


@PREDICTORS.register_module
class IdentityPredictor(BasePredictor):
    """Maps of individuals, enlarged to the size of the image.

    As DeepLabCut's models/predictors/identity_predictor.py. An exported graph does not make the
    whole map: ``scores_at`` reads the places of keypoints only.

    Args:
        apply_sigmoid: the maps are logits; the sigmoid comes after enlarging.
    """

    def __init__(self, apply_sigmoid: bool = True) -> None:
        super().__init__()
        self.apply_sigmoid = apply_sigmoid

    def decode(self, stride: float, outputs: Outputs) -> Outputs:
        """``heatmap`` [N, h * stride, w * stride, individuals] of [N, individuals, h, w].

        Height and width are those of the maps, not exactly the image's.
        """
        heatmap = outputs["heatmap"]
        size = [_pixels(side, stride) for side in heatmap.shape[2:]]
        heatmap = functional.interpolate(heatmap, size=size, mode="bilinear", antialias=True)
        return {"heatmap": self._activated(heatmap).permute(0, 2, 3, 1)}

    def scores_at(self, stride: float, outputs: Outputs, points: Tensor) -> Tensor:
        """Scores [N, ..., individuals] of points [N, ..., 2], x and y in input pixels.

        What ``decode`` has at the rounded points (half to even), clipped to the map; for strides of
        1 and more. Points must be finite; plain exportable tensor code.
        """
        heatmap = outputs["heatmap"]
        columns = heatmap.shape[3]
        places = points.unsqueeze(1).flatten(1, -2)
        left, right, across = _neighbours(places[..., 0], columns, stride)
        top, bottom, down = _neighbours(places[..., 1], heatmap.shape[2], stride)
        rows = [
            torch.lerp(
                _read(heatmap, row * columns + left), _read(heatmap, row * columns + right), across
            )
            for row in (top, bottom)
        ]
        scores = self._activated(torch.lerp(rows[0], rows[1], down)).transpose(1, 2)
        return scores.reshape(*points.shape[:-1], heatmap.shape[1])

    def _activated(self, maps: Tensor) -> Tensor:
        return maps.sigmoid() if self.apply_sigmoid else maps


def _pixels(cells: int, stride: float) -> int:
    """Pixels along an axis of the enlarged map, cells * stride without its fraction.

    In whole numbers: of ``int`` of a float the exporter would make a constant.
    """
    ratio = Fraction(stride).limit_denominator(1000)
    return cells * ratio.numerator // ratio.denominator


def _neighbours(points: Tensor, cells: int, stride: float) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells that a pixel of the enlarged map lies between, and the second one's share.

    Args:
        points: [N, M], pixels along one axis.
        cells: of the map along it.
        stride: pixels per cell.
    """
    pixels = _pixels(cells, stride)
    scale = points.new_full((), cells) / points.new_full((), pixels)
    # Clipping cells clips pixels too: those at the rim have the values of the outermost cells.
    place = ((points.round() + 0.5) * scale - 0.5).clamp(0, cells - 1)
    first = place.floor()
    second = (first + 1).clamp(max=cells - 1)
    return first.long(), second.long(), (place - first).unsqueeze(1)


def _read(maps: Tensor, cells: Tensor) -> Tensor:
    """Values [N, C, M] of maps [N, C, h, w] at cells [N, M], counted in reading order."""
    return maps.flatten(2).gather(2, cells.unsqueeze(1).expand(-1, maps.shape[1], -1))
