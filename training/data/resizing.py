"""Images of any size to one size, with their labels: resize, then a piece at a random place.

The rules are DeepLabCut's (``data/image.py``, resize_and_random_crop), but for the offsets, which
it counts in pixels of the resized image: here they lead back to the image file.
"""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2 import functional

from .samples import Annotations, Sample

Size = int | tuple[int, int]
"""Side of a square, or (height, width)."""


def resize_and_crop(
    item: Sample, size: Size, max_size: int, max_shift: int, rng: np.random.Generator
) -> Sample:
    """``item`` at ``size``, its aspect kept.

    The image is resized until it covers ``size``, or less where its long side would exceed
    ``max_size``; then a piece of ``size`` is taken at random, up to ``max_shift`` pixels over the
    edges, zero where nothing is. Keypoints that are not on the piece become -1, also in visibility;
    boxes are clipped to it.

    Args:
        item: one sample.
        size: of the new image; an int is also the short side that the image is resized to.
        max_size: pixels; longest side of the resized image.
        max_shift: pixels.
        rng: draws the place.
    """
    before = (item["image"].shape[1], item["image"].shape[2])
    height, width = (size, size) if isinstance(size, int) else size
    if isinstance(size, int):
        resized = _with_short_side(before, size, max_size)
    else:
        resized = _covering(before, size, max_size)
    left = _start(resized[1], width, max_shift, rng)
    top = _start(resized[0], height, max_shift, rng)
    image = functional.resize(item["image"], list(resized), antialias=True)
    step = torch.tensor([before[1] / resized[1], before[0] / resized[0]], dtype=torch.float64)
    start = torch.tensor([left, top], dtype=torch.float64)
    piece = _Piece(step, start, torch.tensor([width, height], dtype=torch.float64))
    return Sample(
        image=functional.crop(image, top, left, height, width),
        image_id=item["image_id"],
        path=item["path"],
        original_size=item["original_size"],
        offsets=item["offsets"] + start * step * item["scales"],
        scales=item["scales"] * step,
        annotations=piece.annotations(item["annotations"]),
        context={name: piece.poses(poses) for name, poses in item["context"].items()},
    )


class _Piece:
    """Where a piece lies; x_before = (x_piece + start) * step.

    Args:
        step: float64 [2]; (x, y) pixels of the image per pixel of the piece.
        start: float64 [2]; (x, y) of its corner in the resized image.
        size: float64 [2]; (width, height).
    """

    def __init__(self, step: torch.Tensor, start: torch.Tensor, size: torch.Tensor) -> None:
        self.step, self.start, self.size = step, start, size

    def poses(self, poses: torch.Tensor) -> torch.Tensor:
        """[..., 3]; rows of -1 for points that are not on the piece."""
        points = poses[..., :2] / self.step - self.start
        on_it = ((points >= 0) & (points < self.size)).all(dim=-1, keepdim=True)
        moved = torch.cat([points, poses[..., 2:]], dim=-1)
        return torch.where(on_it, moved, -1.0).to(poses.dtype)

    def boxes(self, boxes: torch.Tensor) -> torch.Tensor:
        """[..., 4] XYWH, clipped to the piece."""
        start = boxes[..., :2] / self.step - self.start
        end = start + boxes[..., 2:] / self.step
        nothing = torch.zeros(2, dtype=self.size.dtype)
        start, end = (corner.clamp(nothing, self.size) for corner in (start, end))
        return torch.cat([start, end - start], dim=-1).to(boxes.dtype)

    def annotations(self, before: Annotations) -> Annotations:
        boxes = self.boxes(before["boxes"])
        area = boxes[..., 2].clamp(min=1) * boxes[..., 3].clamp(min=1)
        return Annotations(
            keypoints=self.poses(before["keypoints"]),
            keypoints_unique=self.poses(before["keypoints_unique"]),
            with_center_keypoints=before["with_center_keypoints"],
            area=area,
            boxes=boxes,
            is_crowd=before["is_crowd"],
            labels=before["labels"],
            individual_ids=before["individual_ids"],
        )


def _with_short_side(before: tuple[int, int], side: int, max_size: int) -> tuple[int, int]:
    """(height, width) with the short side at ``side``."""
    short, long = min(before), max(before)
    new_short, new_long = side, int(side / short * long)
    if new_long > max_size:
        new_short, new_long = int(max_size / long * short), max_size
    return (new_short, new_long) if before[0] < before[1] else (new_long, new_short)


def _covering(before: tuple[int, int], size: tuple[int, int], max_size: int) -> tuple[int, int]:
    """(height, width) that just covers ``size``."""
    height, width = before
    if height / size[0] <= width / size[1]:
        new = size[0], int(width * (size[0] / height))
    else:
        new = int(height * (size[1] / width)), size[1]
    if max(new) <= max_size:
        return new
    if new[0] <= new[1]:
        return int(height * (max_size / width)), max_size
    return max_size, int(width * (max_size / height))


def _start(length: int, wanted: int, max_shift: int, rng: np.random.Generator) -> int:
    """Where along a side of ``length`` pixels ``wanted`` pixels are taken; at most half of them,
    and of the image, may be missed."""
    extra = max(0, length - wanted)
    low = max(-wanted // 2, -max(0, wanted - length) - max_shift)
    high = min(max_shift + extra, extra + min(length, wanted) // 2)
    return int(rng.integers(low, max(high, low + 1)))
