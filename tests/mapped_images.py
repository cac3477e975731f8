"""Images whose pixels tell where they lay, so a moved label can be held against a moved image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torchvision import tv_tensors

from dlc_deploy.training.data.samples import Drawn

SIDE, LEVELS = 60, 4
"""Pixels of a side, and grey levels from one pixel to the next: places are told to an eighth."""


def mapped(keypoints: Any, unique: Any = (), boxes: Any = None) -> Drawn:
    """A square image: red grows with x, green with y, blue is 255. Keypoints [A, K, 2] are visible;
    boxes are around them unless given."""
    places = torch.tensor(keypoints, dtype=torch.float32)
    if boxes is None:
        start = places.amin(1)
        boxes = torch.cat([start, places.amax(1) - start], 1)
    alone = torch.tensor(unique, dtype=torch.float32).reshape(-1, 2)
    size = (SIDE, SIDE)
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.stack([LEVELS * x, LEVELS * y, np.full_like(x, 255)], -1).astype(np.uint8)
    return Drawn(
        image=tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)),
        keypoints=tv_tensors.KeyPoints(places, canvas_size=size),
        visibility=torch.full(places.shape[:2], 2.0),
        unique=tv_tensors.KeyPoints(alone, canvas_size=size),
        unique_visibility=torch.full((len(alone),), 2.0),
        boxes=tv_tensors.BoundingBoxes(torch.as_tensor(boxes), format="XYWH", canvas_size=size),
    )


def shown_at(drawn: Drawn) -> tuple[np.ndarray, np.ndarray]:
    """What the image shows at its keypoints: places (x, y) in the first image, [N, 2], and whether
    anything of it is there."""
    image = drawn["image"].permute(1, 2, 0).numpy().astype(np.float32)
    points = np.concatenate([drawn["keypoints"].reshape(-1, 2), drawn["unique"]])
    values = cv2.remap(image, points[:, :1].copy(), points[:, 1:].copy(), cv2.INTER_LINEAR)[:, 0]
    return values[:, :2] / LEVELS, values[:, 2] > 254
