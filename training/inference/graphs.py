"""The executable graphs: one wrapper for every family, and one for every detector.

The same module runs in PyTorch and becomes the ONNX file: ``uint8 [N, H, W, 3]`` RGB in;
normalisation, network and decoding inside; coordinates in pixels of that input out.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from dlc_deploy.grouping import PafGrouping
from dlc_deploy.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Normalization
from dlc_deploy.training.models.detectors import BaseDetector
from dlc_deploy.training.models.model import Outputs, PoseModel
from dlc_deploy.training.models.predictors import IdentityPredictor

BODYPARTS, UNIQUE, IDENTITY = "bodypart", "unique_bodypart", "identity"
POSES, PEAKS = ("poses",), ("peaks", "affinities")


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
    """Images to what :class:`dlc_deploy.manifest.PoseGraph` promises: poses, or peaks and
    affinities, in input pixels; unique bodyparts and identities where the model has such heads.

    Args:
        model: the network.
        normalization: how its pixels are made.
        identity: read the identity head, where there is one.

    Attributes:
        outputs: names of what ``forward`` returns, in order.
    """

    def __init__(
        self, model: PoseModel, normalization: Normalization, *, identity: bool = True
    ) -> None:
        super().__init__()
        self.normalize = Normalize(normalization)
        self.model = model
        found = PEAKS if isinstance(model.predictor(BODYPARTS).grouping, PafGrouping) else POSES
        heads = {UNIQUE: "unique"} | ({IDENTITY: "identity"} if identity else {})
        self.outputs = (*found, *(name for head, name in heads.items() if head in model.heads))

    def forward(self, images: Tensor, conditions: Tensor | None = None) -> tuple[Tensor, ...]:
        """Run the network and the predictors.

        Args:
            images: uint8 [N, H, W, 3] RGB.
            conditions: float32 [N, K, 3], of a conditional top-down model: x and y in pixels of
                the image, and score.
        """
        values = self.decode(self.run_network(images, conditions))
        return tuple(values[name] for name in self.outputs)

    def run_network(
        self, images: Tensor, conditions: Tensor | None = None
    ) -> dict[str, dict[str, Tensor]]:
        """``{head: {output: tensor}}``, as the heads give it."""
        given = {} if conditions is None else {"cond_kpts": conditions.unsqueeze(1)}
        outputs: Outputs = self.model(self.normalize(images), **given)
        return outputs

    def decode(self, outputs: Outputs) -> dict[str, Tensor]:
        """What ``forward`` returns, by name."""
        values = self._decoded(BODYPARTS, outputs)
        if "unique" in self.outputs:
            values["unique"] = self._decoded(UNIQUE, outputs)["poses"]
        if "identity" in self.outputs:
            points = values[self.outputs[0]][..., :2]
            predictor = cast(IdentityPredictor, self.model.predictor(IDENTITY))
            stride = self.model.get_stride(IDENTITY)
            values["identity"] = predictor.scores_at(stride, outputs[IDENTITY], points)
        return values

    def _decoded(self, head: str, outputs: Outputs) -> dict[str, Tensor]:
        return self.model.predictor(head).decode(self.model.get_stride(head), outputs[head])


class DetectorGraph(nn.Module):
    """Images to boxes float32 [N, detections, 4] (left, top, right, bottom in input pixels, best
    first) and scores float32 [N, detections]; a place without a box has score 0.

    Attributes:
        outputs: names of what ``forward`` returns, in order.
    """

    outputs = ("boxes", "scores")

    def __init__(self, model: BaseDetector, normalization: Normalization, detections: int) -> None:
        super().__init__()
        self.normalize = Normalize(normalization)
        self.model = model
        self.detections = detections

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run the detector's fixed-shape ``decode``."""
        boxes, scores = self.model.decode(self.normalize(images), self.detections)
        return boxes, scores
