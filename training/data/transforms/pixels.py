"""Transforms of pixels alone: contrast, blur, grey and noise; labels stay where they are.

Drawn numbers and their ranges are those of DeepLabCut's ``data/transforms.py`` (albumentations'
Equalize, MotionBlur, ToGray and GaussNoise).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from .base import Array, DrawnTransform, Params, integer, size_of, uniform


class Equalize(DrawnTransform):
    """``hist_eq``: the histogram of each channel is equalised."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def pixels(self, image: Array, params: Params) -> Array:
        """OpenCV's equalisation of each channel."""
        return np.asarray(cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)]))


class MotionBlur(DrawnTransform):
    """``motion_blur``: smeared along a random line within 3, 5 or 7 pixels."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """The kernel: a line between two different pixels of a square."""
        side = (3, 5, 7)[integer(0, 2)]
        x1, x2, y1, y2 = torch.randint(0, side, (4,)).tolist()
        if x1 == x2:
            y1, y2 = torch.randperm(side)[:2].tolist()
        kernel = np.zeros((side, side), np.uint8)
        cv2.line(kernel, (x1, y1), (x2, y2), (1,), thickness=1)
        return {"kernel": kernel.astype(np.float32) / kernel.sum(dtype=np.float32)}

    def pixels(self, image: Array, params: Params) -> Array:
        """The image under the kernel."""
        return np.asarray(cv2.filter2D(image, -1, params["kernel"]))


class Grayscale(DrawnTransform):
    """``grayscale``: blended with its grey image, which takes a share of 0.5 to 1."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """The share of grey."""
        return {"share": uniform(0.5, 1.0)}

    def pixels(self, image: Array, params: Params) -> Array:
        """The blend, rounded down."""
        share = np.float32(params["share"])
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] * share
        return np.asarray((image * (1 - share) + gray).astype(np.uint8))


class GaussianNoise(DrawnTransform):
    """``gaussian_noise``: normal noise on every value, of a variance drawn up to ``std`` squared.

    Args:
        std: largest standard deviation, in grey levels.
        p: probability.
    """

    def __init__(self, std: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.std = std

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """The noise, float32 [H, W, 3]."""
        std = uniform(0.0, self.std**2) ** 0.5
        return {"noise": torch.randn(*size_of(flat_inputs), 3).mul_(std).numpy()}

    def pixels(self, image: Array, params: Params) -> Array:
        """The noisy image, clipped and rounded down."""
        noisy = image + params["noise"]
        return np.asarray(np.clip(noisy, 0, 255, out=noisy).astype(np.uint8))
