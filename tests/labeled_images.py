"""Labelled images drawn for tests of datasets."""

from __future__ import annotations

import cv2
import numpy as np

from dlc_deploy.training.data.labels import LabeledImage
from dlc_deploy.training.data.parameters import PoseDatasetParameters

HEIGHT, WIDTH = 48, 64
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
"""RGB."""


def labeled(folder, *poses, boxes=None, unique=(), name="image.png", pixels=PIXELS, number=7):
    """An image in ``folder`` with animals at ``poses`` (lists of x, y, visibility), and boxes 4
    pixels around them where none are given."""
    path = folder / name
    cv2.imwrite(str(path), pixels[..., ::-1])
    keypoints = np.array(poses, np.float32) if poses else np.zeros((0, 2, 3), np.float32)
    if boxes is None:
        boxes = [_around(pose) for pose in keypoints]
    count = len(poses)
    return LabeledImage(
        path=path,
        id=number,
        height=pixels.shape[0],
        width=pixels.shape[1],
        keypoints=keypoints,
        boxes=np.array(boxes, np.float32).reshape(count, 4),
        individuals=np.arange(count)[::-1].copy(),
        categories=np.ones(count, np.int64),
        crowd=np.arange(count) % 2 == 1,
        unique=np.array(unique, np.float32).reshape(-1, 3),
    )


def _around(pose):
    low, high = pose[:, :2].min(axis=0) - 4, pose[:, :2].max(axis=0) + 4
    return [*low, *(high - low)]


def parameters(animals=2, bodyparts=2, **changes):
    """Parameters of a dataset of such images."""
    return PoseDatasetParameters(
        bodyparts=[f"part{number}" for number in range(bodyparts)],
        unique_bpts=changes.pop("unique_bpts", []),
        individuals=[f"mouse{number}" for number in range(animals)],
        **changes,
    )
