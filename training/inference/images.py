"""Images on their way to a runner: read, and put together in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import InputError
from dlc_deploy.runtime.pipelines.frames import Placement
from dlc_deploy.training.data.animals import Animals
from dlc_deploy.training.data.base import Transform
from dlc_deploy.training.data.reading import ImageReader

Pixels = NDArray[np.uint8]
Image = str | Path | Pixels
"""A path, or uint8 [H, W, 3]."""
Context = Mapping[str, Any]
"""What is known of an image: ``bboxes`` [B, 4] (left, top, width, height) with ``bbox_scores`` [B],
or ``cond_kpts`` [C, K, 3]."""


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Images of one size.

    Attributes:
        frames: uint8 [N, H, W, 3].
        contexts: one for each.
    """

    frames: Pixels
    contexts: list[Context]


def batches(
    images: Iterable[Image | tuple[Image, Context]], size: int, reader: ImageReader
) -> Iterator[ImageBatch]:
    """Consecutive images in batches of at most ``size``; one of another size begins a new batch.

    Raises:
        InputError: something that is no image.
    """
    frames: list[Pixels] = []
    contexts: list[Context] = []
    for given in images:
        image, context = given if isinstance(given, tuple) else (given, {})
        pixels = _pixels(image, reader)
        if frames and (len(frames) == size or pixels.shape != frames[0].shape):
            yield ImageBatch(np.stack(frames), contexts)
            frames, contexts = [], []
        frames.append(pixels)
        contexts.append(context)
    if frames:
        yield ImageBatch(np.stack(frames), contexts)


def transformed(pixels: Pixels, transform: Transform) -> tuple[NDArray[np.float32], Placement]:
    """An image [H, W, 3] after ``transform``, and where it lies in the one that went in: what
    happens to a box around the whole image tells (deeplabcut's data/preprocessor.py)."""
    height, width = pixels.shape[:2]
    whole = Animals(
        keypoints=np.zeros((1, 0, 3)),
        unique=np.zeros((0, 3)),
        boxes=np.array([[0.0, 0.0, width, height]]),
        individuals=np.zeros(1, np.int64),
        categories=np.ones(1, np.int64),
        crowd=np.zeros(1, np.bool_),
    )
    image, moved = whole.transformed(pixels, transform)
    left, top, wide, high = moved.boxes[0].tolist()
    scale = width / wide, height / high
    place = Placement(scale, (-left * scale[0], -top * scale[1]))
    return np.asarray(image, np.float32), place


def _pixels(image: Image, reader: ImageReader) -> Pixels:
    if isinstance(image, (str, Path)):
        return reader.read(Path(image))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(
            f"Expected images as paths or as uint8 [H, W, 3] in RGB, got {image.dtype} "
            f"{list(image.shape)}."
        )
    return image
