"""The size and the numbers of the image that torchvision's detectors look at."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.transform import GeneralizedRCNNTransform

Size = Sequence[int]
# As many pixels as a side may have where sides are free.
_LONGEST = 8192
# Common denominator of what is compared below; the products stay far below 2**63.
_BITS = 62


def normalized(images: Tensor, transform: GeneralizedRCNNTransform) -> Tensor:
    """``images`` [N, 3, H, W] less torchvision's mean, in its standard deviations."""
    mean, std = (
        torch.tensor(value, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
        for value in (transform.image_mean, transform.image_std)
    )
    return (images - mean) / std


def resized(images: Tensor, transform: GeneralizedRCNNTransform) -> tuple[Tensor, Size]:
    """Images as ``torchvision.models.detection`` resizes them, for all of a batch at once.

    The short side becomes ``min_size``, or the long one ``max_size`` where it would be longer, and
    zeros at the right and the bottom fill up to multiples of ``size_divisible``.

    Args:
        images: [N, 3, H, W]; H and W may be free sizes of a graph.
        transform: the detector's.

    Returns:
        The images [N, 3, h', w'] and (height, width) of what the frame fills of them.
    """
    multiple = transform.size_divisible
    height, width = images.shape[2:]
    limits = transform.min_size[-1], transform.max_size
    if isinstance(height, int) and isinstance(width, int):
        size = resized_size(height, width, *limits)
        cells = (math.ceil(size[0] / multiple), math.ceil(size[1] / multiple))
    else:
        sides = free_resized_size(torch.cat([_scalar(height), _scalar(width)]), *limits)
        most = math.ceil(transform.max_size / multiple)
        size = _shape(sides, transform.max_size)
        cells = _shape(torch.div(sides + multiple - 1, multiple, rounding_mode="trunc"), most)
        for side, count in zip(size, cells, strict=True):
            torch._check(side <= multiple * count)
    images = functional.interpolate(images, size, mode="bilinear", align_corners=False)
    below, right = (multiple * count - side for side, count in zip(size, cells, strict=True))
    return functional.pad(images, (0, right, 0, below)), size


def resized_size(height: int, width: int, shortest: int, longest: int) -> Size:
    """(height, width) that torchvision gives an image: in float64, rounded down."""
    factor = min(shortest / min(height, width), longest / max(height, width))
    return math.floor(height * factor), math.floor(width * factor)


def free_resized_size(sides: Tensor, shortest: int, longest: int) -> Tensor:
    """:func:`resized_size` for a graph with free sizes, in whole numbers only.

    TensorRT knows no float64, and float32 rounds other sizes down by one than float64 does: a
    product that is a whole number comes out just below it where the factor was rounded down by
    enough. How much the factor of each side is short stands in a table.

    Args:
        sides: int64 [2], height and width up to 8192.
        shortest: what the short side becomes.
        longest: what the long side may be, below 2048: graphs divide whole numbers in float32, and
            up to there that is exact.

    Returns:
        int64 [2], the new height and width.
    """
    short, long = sides.amin(0, keepdim=True), sides.amax(0, keepdim=True)
    by_short = shortest * long <= longest * short
    limit = torch.where(by_short, shortest, longest)
    side = torch.where(by_short, short, long)
    product = sides * limit
    size: Tensor = torch.div(product, side, rounding_mode="trunc")
    lacks = [_table(_lacks(most)).index_select(0, side) for most in (shortest, longest)]
    lacking = torch.where(by_short, lacks[0], lacks[1])
    gap = _table(_half_gaps(longest)).index_select(0, size)
    drops = (size * side == product) & (sides * lacking > side * gap)
    return size - drops.long()


@functools.cache
def _lacks(limit: int) -> tuple[int, ...]:
    """By side: side * (limit / side, less its float64), in units of 2**-_BITS, and 0 if below."""
    lacks = [0]
    for side in range(1, _LONGEST + 1):
        lack = side * (Fraction(limit, side) - Fraction(limit / side)) * 2**_BITS
        lacks.append(max(0, int(lack)))
    return tuple(lacks)


@functools.cache
def _half_gaps(longest: int) -> tuple[int, ...]:
    """Half of the distance to the float64 below each whole number, in units of 2**-_BITS."""
    below = (n - math.nextafter(n, 0) for n in range(1, longest + 1))
    return (0, *(int(2 ** (_BITS - 1) * gap) for gap in below))


def _table(numbers: tuple[int, ...]) -> Tensor:
    return torch.tensor(numbers)


def _scalar(side: int | torch.SymInt) -> Tensor:
    return torch.full((1,), side, dtype=torch.int64)


def _shape(sides: Tensor, most: int) -> Size:
    """Two computed numbers as sizes of a shape, each from 1 to ``most``."""
    height, width = (cast(int, side.item()) for side in sides.unbind())
    for side in (height, width):
        torch._check(side >= 1)
        torch._check(side <= most)
    return height, width
