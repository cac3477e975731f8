"""Pixels to the numbers a network takes: the last step of a transform section."""

from __future__ import annotations

import cv2
import numpy as np

from dlc_deploy.preprocessing import IMAGENET_MEAN, IMAGENET_STD

from .base import Array, DrawnTransform, Params


class TabledPixels(DrawnTransform):
    """Each of the 256 values of each channel becomes the number a table gives for it.

    Args:
        table: float32 [1, 256, 3].
    """

    def __init__(self, table: Array) -> None:
        super().__init__()
        self.table = table

    def pixels(self, image: Array, params: Params) -> Array:
        """float32 [H, W, 3]."""
        return np.asarray(cv2.LUT(image, self.table))


class Normalize(TabledPixels):
    """``normalize_images``: (x / 255 - mean) / std with ImageNet's numbers, in the float32 steps
    of albumentations' Normalize."""

    def __init__(self) -> None:
        mean, std = np.array([IMAGENET_MEAN, IMAGENET_STD], np.float32) * np.float32(255)
        super().__init__((_values() - mean) * np.reciprocal(std))


class UnitRange(TabledPixels):
    """``scale_to_unit_range``: x / 255."""

    def __init__(self) -> None:
        super().__init__(_values() / np.float32(255))


def _values() -> Array:
    return np.repeat(np.arange(256, dtype=np.float32)[None, :, None], 3, axis=2)
