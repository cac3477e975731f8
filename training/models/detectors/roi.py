"""RoIAlign over the levels of a feature pyramid in plain operators of fixed shape.

As torchvision's ``MultiScaleRoIAlign``: the level by the size of the box (Lin et al., "Feature
Pyramid Networks", 2017, equation 1) and the mean of ``sampling_ratio`` x ``sampling_ratio`` samples
in each bin (He et al., "Mask R-CNN", 2017). All levels lie in one map of rows, one a pixel, so a
box of any level is a matter of indices. Samples form a grid, so a bin is the weighted sum of the
pixels at some rows and columns, and weights are products: one gather and one product a bin row.
TensorRT has no RoIAlign; ONNX Runtime's is not faster than this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign


def pool_regions(
    pool: MultiScaleRoIAlign, features: Sequence[Tensor], strides: Sequence[int], boxes: Tensor
) -> Tensor:
    """The features inside of boxes.

    Args:
        pool: output size, samples and canonical level.
        features: [N, C, h, w] of each level.
        strides: pixels from one feature to the next, of each level; powers of two.
        boxes: [N, R, 4] inside the image; left, top, right, bottom in pixels.

    Returns:
        [N, R, C, bins, bins].
    """
    levels = levels_of(boxes, pool, strides)
    scale = _each(levels, [1 / stride for stride in strides])
    heights, widths = ([feature.shape[axis] for feature in features] for axis in (2, 3))
    bins_y, bins_x = pool.output_size
    rows, row_weights = _taps(boxes[..., 1::2] * scale, _each(levels, heights), bins_y, pool)
    columns, column_weights = _taps(boxes[..., 0::2] * scale, _each(levels, widths), bins_x, pool)
    pixels, first = _pixels(features)
    index = rows * _each(levels, widths)[..., None]
    index = index + (first + _each(levels, _starts(features)))[..., None]
    pooled = [
        _bin_row(pixels, index[:, :, y], row_weights[:, :, y], columns, column_weights)
        for y in range(bins_y)
    ]
    return torch.stack(pooled, dim=2).permute(0, 1, 4, 2, 3)


def levels_of(boxes: Tensor, pool: MultiScaleRoIAlign, strides: Sequence[int]) -> Tensor:
    """Which level each box [..., 4] is pooled from, int64 [...]."""
    first, last = (round(math.log2(strides[level])) for level in (0, -1))
    width, height = (boxes[..., 2:] - boxes[..., :2]).unbind(-1)
    side = (width * height).sqrt()
    levels = torch.zeros_like(side, dtype=torch.int64)
    for level in range(first + 1, last + 1):
        # The small number is torchvision's own.
        smallest = pool.canonical_scale * 2 ** (level - pool.canonical_level - 1e-6)
        levels = levels + (side >= smallest).long()
    return levels


def _taps(
    edges: Tensor, count: Tensor, bins: int, pool: MultiScaleRoIAlign
) -> tuple[Tensor, Tensor]:
    """What each bin is made of along one axis.

    Args:
        edges: [N, R, 2], start and end of each box in pixels of its level.
        count: int64 [N, R, 1], how many pixels that level has.
        bins: B, how many bins a box has.
        pool: says how many samples a bin has.

    Returns:
        Pixels int64 [N, R, B, T] and their weights [N, R, B, T]; a sample between two pixels makes
        two of them, and one beyond the map has no weight.
    """
    samples = pool.sampling_ratio
    start, end = edges.split(1, dim=-1)
    step = (end - start).clamp(min=1) / bins
    within = (torch.arange(samples, device=edges.device) + 0.5).repeat(bins)
    before = torch.arange(bins, device=edges.device).repeat_interleave(samples)
    at = start + before * step + within * step / samples
    last = (count - 1).to(at.dtype)
    weight = (at <= count).to(at.dtype) / samples
    at = torch.minimum(at, last)
    low = at.floor()
    part = at - low
    pixels = torch.stack([low, torch.minimum(low + 1, last)], dim=-1).long()
    weights = torch.stack([(1 - part) * weight, part * weight], dim=-1)
    shape = (bins, 2 * samples)
    return pixels.flatten(2).unflatten(2, shape), weights.flatten(2).unflatten(2, shape)


def _bin_row(
    pixels: Tensor, rows: Tensor, row_weights: Tensor, columns: Tensor, column_weights: Tensor
) -> Tensor:
    """One row of bins [N, R, B, C] from ``pixels`` [P, C].

    Args:
        pixels: all pixels of all levels and images.
        rows: [N, R, T], where in ``pixels`` the rows start that this row of bins is made of.
        row_weights: [N, R, T].
        columns: [N, R, B, T], the pixels in them that each bin is made of.
        column_weights: [N, R, B, T].
    """
    index = (rows[:, :, None, :, None] + columns[..., None, :]).flatten(3)
    weights = (row_weights[:, :, None, :, None] * column_weights[..., None, :]).flatten(3)
    values = pixels.index_select(0, index.flatten()).reshape(*index.shape, pixels.shape[1])
    return (weights[..., None, :] @ values)[..., 0, :]


def _pixels(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """All pixels as rows [N * P, C], level after level in each image, and where each image starts,
    int64 [N, 1, 1]."""
    rows = torch.cat([feature.flatten(2) for feature in features], dim=2).transpose(1, 2)
    images, count = rows.shape[:2]
    first = torch.arange(images, device=rows.device) * count
    return rows.flatten(0, 1), first[:, None, None]


def _starts(features: Sequence[Tensor]) -> list[int]:
    """How many pixels the levels before each have."""
    starts = [0]
    for feature in features[:-1]:
        starts.append(starts[-1] + feature.shape[2] * feature.shape[3])
    return starts


def _each(levels: Tensor, values: Sequence[float]) -> Tensor:
    """The value of the level of each box, [N, R, 1] of ``levels`` [N, R]."""
    table = torch.cat([torch.full((1,), value, device=levels.device) for value in values])
    return table.index_select(0, levels.flatten()).reshape(*levels.shape, 1)
