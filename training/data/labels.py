"""Labelled images: what every loader makes of its files, and what datasets and evaluation read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LabeledImage:
    """One image and what is labelled in it; A animals, K bodyparts, U unique bodyparts.

    Attributes:
        path: the image file, absolute.
        id: number of the image in its project; that of the file for COCO.
        height: of the image in pixels.
        width: of the image in pixels.
        keypoints: float32 [A, K, 3]; x and y in pixels of the image, and visibility as in COCO: 2
            visible, 1 labelled but hidden, 0 not labelled (then x = y = 0), -1 bodypart not
            defined for this image.
        boxes: float32 [A, 4]; left, top, width, height in pixels, around each animal.
        individuals: int64 [A]; which of the project's individuals each animal is, -1 unknown.
        categories: int64 [A]; class of each box for a detector, from 1.
        crowd: bool [A]; boxes of a crowd, which no detection is held against.
        unique: float32 [U, 3]; as ``keypoints``.
    """

    path: Path
    id: int
    height: int
    width: int
    keypoints: Floats
    boxes: Floats
    individuals: NDArray[np.int64]
    categories: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    unique: Floats
