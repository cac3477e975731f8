"""Samples to batches; the collate functions are DeepLabCut's (``data/collate.py``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch.utils.data import default_collate

from dlc_deploy.errors import ConfigError, InputError

from ..models.registry import Registry
from .resizing import Size, resize_and_crop
from .samples import Batch, Sample


class CollateFunction(ABC):
    """Called with the samples of a batch; joins them."""

    @abstractmethod
    def __call__(self, items: list[Sample]) -> Batch:
        """``items`` as one batch."""


COLLATE_FUNCTIONS: Registry[CollateFunction] = Registry("collate function")
"""By the names that ``data.train.collate`` gives them."""


def join(items: list[Sample]) -> Batch:
    """Samples as one batch, as they are.

    Raises:
        InputError: their images have different sizes.
    """
    sizes = {(item["image"].shape[1], item["image"].shape[2]): item["path"] for item in items}
    if len(sizes) > 1:
        seen = ", ".join(f"{height}x{width} ({path})" for (height, width), path in sizes.items())
        raise InputError(
            f"Expected images of one size in a batch, got {seen}. Give the configuration "
            "data.train.collate (ResizeFromDataSizeCollate), a resize or a crop_sampling, "
            "or train with batch_size 1."
        )
    return cast(Batch, default_collate(items))


class ResizeCollate(CollateFunction):
    """Resizes the images of a batch to one size, which is drawn for each batch.

    Args:
        max_shift: pixels that the piece taken from an image may reach over its edges.
        max_size: pixels; longest side of a resized image, of which the piece is then taken.
        seed: changes what is drawn; apart from that, random numbers follow torch's generator.
    """

    def __init__(self, max_shift: int = 10, max_size: int = 2048, seed: int = 0) -> None:
        self.max_shift = max_shift
        self.max_size = max_size
        self.seed = seed

    def __call__(self, items: list[Sample]) -> Batch:
        """``items`` at one size, as one batch."""
        rng = np.random.default_rng([self.seed, int(torch.randint(2**62, ()))])
        first = items[0]["image"].shape
        size = self.draw_size((first[1], first[2]), rng)
        return join(
            [resize_and_crop(item, size, self.max_size, self.max_shift, rng) for item in items]
        )

    @abstractmethod
    def draw_size(self, first: tuple[int, int], rng: np.random.Generator) -> Size:
        """The size of a batch whose first image has the (height, width) ``first``."""


@COLLATE_FUNCTIONS.register_module
class ResizeFromDataSizeCollate(ResizeCollate):
    """The size of the first image, scaled at random.

    Args:
        min_scale: smallest scale.
        max_scale: largest scale.
        min_short_side: pixels; smallest short side.
        max_short_side: pixels; largest short side, before it becomes a multiple.
        max_ratio: largest long side / short side; longer images are cut.
        multiple_of: both sides become multiples of it, upwards.
        to_square: make squares of the short side.
        max_shift, max_size, seed: as for :class:`ResizeCollate`.
    """

    def __init__(
        self,
        min_scale: float,
        max_scale: float,
        min_short_side: int = 128,
        max_short_side: int = 1152,
        max_ratio: float = 2.0,
        multiple_of: int | None = None,
        to_square: bool = False,
        max_shift: int = 10,
        max_size: int = 2048,
        seed: int = 0,
    ) -> None:
        super().__init__(max_shift, max_size, seed)
        if not 0 < min_scale <= max_scale:
            raise ConfigError(
                f"Expected 0 < min_scale <= max_scale, got {min_scale} and {max_scale}. "
                "Correct data.train.collate."
            )
        self.scales = min_scale, max_scale
        self.short_sides = min_short_side, max_short_side
        self.max_ratio = max_ratio
        self.multiple_of = multiple_of or 1
        self.to_square = to_square

    def draw_size(self, first: tuple[int, int], rng: np.random.Generator) -> Size:
        """See :class:`ResizeCollate`."""
        smallest, largest = self.short_sides
        scaled = rng.uniform(*self.scales) * min(first)
        short = round(min(largest, max(smallest, scaled)))
        if self.to_square:
            return self._multiple(short)
        ratio = min(max(first) / min(first), self.max_ratio)
        short, long = self._multiple(short), self._multiple(int(ratio * short))
        return (short, long) if first[0] < first[1] else (long, short)

    def _multiple(self, value: int) -> int:
        return -(-value // self.multiple_of) * self.multiple_of


@COLLATE_FUNCTIONS.register_module
class ResizeFromListCollate(ResizeCollate):
    """One of the sizes of a list.

    Args:
        scales: sides of squares, or (height, width).
        max_shift, max_size, seed: as for :class:`ResizeCollate`.
    """

    def __init__(
        self,
        scales: Sequence[int] | Sequence[tuple[int, int]],
        max_shift: int = 10,
        max_size: int = 2048,
        seed: int = 0,
    ) -> None:
        super().__init__(max_shift, max_size, seed)
        if not scales:
            raise ConfigError("Expected sizes to choose from, got none. Set scales of the collate.")
        self.sizes: list[Size] = [
            scale if isinstance(scale, int) else (int(scale[0]), int(scale[1])) for scale in scales
        ]

    def draw_size(self, first: tuple[int, int], rng: np.random.Generator) -> Size:
        """See :class:`ResizeCollate`."""
        return self.sizes[rng.integers(len(self.sizes))]
