"""What passes between transforms, datasets, collate functions and runners.

    LabeledImage ──▶ Drawn ──transform──▶ Drawn ──dataset──▶ Sample ──collate──▶ Batch ──▶ runner

Shapes: A animals, K bodyparts (one more where the dataset adds centres), U unique bodyparts, N
images of a batch. ``A`` of samples is always the dataset's number of animals (1 for crops); missing
animals are rows of zeros, with labels and ids of -1.
"""

from __future__ import annotations

from typing import TypedDict

import torch
from torchvision import tv_tensors


class Drawn(TypedDict):
    """One image with its labels while it is transformed.

    Plain tensors beside the image (the visibilities) pass torchvision's transforms unchanged; a
    transform that hides, crops away or swaps keypoints changes them along.

    Attributes:
        image: uint8 [3, H, W] (float32 after normalisation); memory order is free, [H, W, 3] below.
        keypoints: float32 [A, K, 2], in pixels of ``image``.
        visibility: float32 [A, K]; as in :class:`LabeledImage`.
        unique: float32 [U, 2].
        unique_visibility: float32 [U].
        boxes: float32 [A, 4], XYWH.
    """

    image: tv_tensors.Image
    keypoints: tv_tensors.KeyPoints
    visibility: torch.Tensor
    unique: tv_tensors.KeyPoints
    unique_visibility: torch.Tensor
    boxes: tv_tensors.BoundingBoxes


class Annotations(TypedDict):
    """Labels, in pixels of the network's input; a batch has one more dimension, N, in front.

    Attributes:
        keypoints: float32 [A, K, 3]; x, y, visibility.
        keypoints_unique: float32 [U, 3].
        with_center_keypoints: bool; whether the last bodypart is the centre.
        area: float32 [A]; of the boxes, at least 1.
        boxes: float32 [A, 4]; left, top, width, height.
        is_crowd: int64 [A].
        labels: int64 [A]; class of each box.
        individual_ids: int64 [A].
    """

    keypoints: torch.Tensor
    keypoints_unique: torch.Tensor
    with_center_keypoints: torch.Tensor
    area: torch.Tensor
    boxes: torch.Tensor
    is_crowd: torch.Tensor
    labels: torch.Tensor
    individual_ids: torch.Tensor


class Sample(TypedDict):
    """One item of a dataset, under DeepLabCut's names; a batch has N in front of each shape.

    Attributes:
        image: float32 [3, H, W], as the network takes it.
        image_id: int64; of its labelled image.
        path: of the image file (a list of N in a batch).
        original_size: int64 [3]; height, width, channels of the image file.
        offsets: float64 [2]; x, y: x_image = x_input * scale + offset.
        scales: float64 [2]; x, y.
        annotations: the labels.
        context: ``cond_keypoints`` float32 [1, K, 3] of a conditional top-down model, else empty.
    """

    image: torch.Tensor
    image_id: int
    path: str
    original_size: torch.Tensor
    offsets: torch.Tensor
    scales: torch.Tensor
    annotations: Annotations
    context: dict[str, torch.Tensor]


class Batch(TypedDict):
    """N samples; see :class:`Sample`."""

    image: torch.Tensor
    image_id: torch.Tensor
    path: list[str]
    original_size: torch.Tensor
    offsets: torch.Tensor
    scales: torch.Tensor
    annotations: Annotations
    context: dict[str, torch.Tensor]
