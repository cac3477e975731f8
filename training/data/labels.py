"""Labelled images: what every loader makes of its files, and what datasets and evaluation read.

Numbers are float64, as the files hold them: DeepLabCut truncates boxes to whole pixels, and a
rounding before that could move them by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LabeledImage:
    """One image and what is labelled in it; A animals, K bodyparts, U unique bodyparts.

    A counts what is labelled only: it may be 0. Every label of the files is here; which animals a
    task cannot use (DeepLabCut's ``filter_annotations``) is for datasets and ground truths to
    decide.

    Attributes:
        path: the image file, absolute.
        id: number of the image, from 1 in its split; that of the file for COCO.
        height: of the image in pixels.
        width: of the image in pixels.
        keypoints: float64 [A, K, 3]; x and y in pixels of the image, and visibility as in COCO: 2
            visible, 1 labelled but hidden, 0 not labelled (then x = y = 0), -1 bodypart not
            defined for this image.
        boxes: float64 [A, 4]; left, top, width, height in pixels, around each animal; as COCO files
            give them, or around the keypoints (:func:`~.boxes.bbox_from_keypoints`).
        individuals: int64 [A]; which of the project's individuals each animal is, -1 unknown.
        categories: int64 [A]; class of each box for a detector, from 1.
        crowd: bool [A]; boxes of a crowd, which no detection is held against.
        unique: float64 [U, 3]; as ``keypoints``.
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
