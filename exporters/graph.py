"""The export graph: one wrapper for every family, and one for every detector.

The same module is the reference engine in PyTorch and becomes the ONNX file: ``uint8 [N, H, W, 3]``
RGB in; normalisation, network and decoding inside; coordinates in pixels of that input out.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from dlc_deploy.preprocessing import Normalization
from dlc_deploy.training.models.detectors import BaseDetector
from dlc_deploy.training.models.heads import BaseHead
from dlc_deploy.training.models.model import PoseModel

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BODYPARTS = "bodypart"


class Normalize(nn.Module):
    """Pixels uint8 [N, H, W, 3] to network numbers float32 [N, 3, H, W]."""

    def __init__(self, normalization: Normalization) -> None:
        super().__init__()
        mean, std = torch.zeros(3), torch.ones(3)
        if normalization.kind == "imagenet":
            mean, std = 255 * torch.tensor(IMAGENET_MEAN), 255 * torch.tensor(IMAGENET_STD)
        elif normalization.kind == "unit":
            std = torch.full((3,), 255.0)
        self.register_buffer("mean", mean.view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / std.view(1, 3, 1, 1))
        self.mean: Tensor
        self.scale: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Cast before the transpose: TensorRT takes no uint8 in a transpose."""
        return (images.float().permute(0, 3, 1, 2) - self.mean) * self.scale


class PoseGraph(nn.Module):
    """Images to poses float32 [N, individuals, keypoints, 3]: x, y in input pixels, and score."""

    def __init__(self, model: PoseModel, normalization: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normalization)
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Run the network and the predictor's ``decode``."""
        outputs = self.model(self.normalize(images))[BODYPARTS]
        head = cast(BaseHead, self.model.heads[BODYPARTS])
        poses: Tensor = head.predictor.decode(self.model.get_stride(BODYPARTS), outputs)["poses"]
        return poses


class DetectorGraph(nn.Module):
    """Images to boxes float32 [N, detections, 4] (left, top, right, bottom in input pixels, best
    first) and scores float32 [N, detections]; a place without a box has score 0."""

    def __init__(self, model: BaseDetector, normalization: Normalization, detections: int) -> None:
        super().__init__()
        self.normalize = Normalize(normalization)
        self.model = model
        self.detections = detections

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run the detector's fixed-shape ``decode``."""
        boxes, scores = self.model.decode(self.normalize(images), self.detections)
        return boxes, scores
