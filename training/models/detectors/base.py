"""What every detector is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import nn

from ..registry import Registry
from ..weight_transfer import WeightInitialization

Detections = list[dict[str, torch.Tensor]]
Targets = list[dict[str, torch.Tensor]]


class BaseDetector(ABC, nn.Module):
    """Finds the animals in an image, in two ways with the same numbers.

    ``forward`` takes one list entry an image, as torchvision does, and is what training needs;
    ``decode`` has fixed shapes and becomes the exported graph.

    Attributes:
        freeze_bn_weights: do not train weight and bias of batch norms.
        freeze_bn_stats: do not update running mean and variance of batch norms.
    """

    def __init__(self, freeze_bn_stats: bool = False, freeze_bn_weights: bool = False) -> None:
        super().__init__()
        self.freeze_bn_stats = freeze_bn_stats
        self.freeze_bn_weights = freeze_bn_weights

    @abstractmethod
    def forward(
        self, images: torch.Tensor, targets: Targets | None = None
    ) -> tuple[dict[str, torch.Tensor], Detections]:
        """Losses (while training) and detections (otherwise).

        Args:
            images: [N, 3, H, W], normalised as the configuration says.
            targets: what :meth:`get_target` gives; needed while training.

        Returns:
            Losses by name; ``boxes``, ``scores`` and ``labels`` of each image, best first.
        """

    @abstractmethod
    def decode(self, images: torch.Tensor, detections: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The best boxes of each image, in shapes that do not depend on the data.

        Args:
            images: [N, 3, H, W], normalised as the configuration says.
            detections: D, how many boxes to return.

        Returns:
            Boxes float32 [N, D, 4] (left, top, right, bottom in pixels of ``images``), best first,
            and scores float32 [N, D]; places without a detection are 0.
        """

    def get_target(self, annotations: Mapping[str, torch.Tensor]) -> Targets:
        """What ``forward`` is to find, from the annotations of a batch.

        As DeepLabCut's models/detectors/torchvision.py: boxes without area, which fill up images
        of fewer animals, are left out.

        Args:
            annotations: ``boxes`` float32 [N, A, 4] (left, top, width, height), ``labels``,
                ``area`` and ``is_crowd`` [N, A].

        Returns:
            Of each image ``boxes`` float32 [B, 4] (left, top, right, bottom), ``labels`` int64 [B],
            ``area`` [B] and ``is_crowd`` int64 [B]; B may be 0.
        """
        targets = []
        for image, boxes in enumerate(annotations["boxes"]):
            corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)
            given = (corners[:, 2:] > corners[:, :2]).all(dim=1)
            targets.append(
                {
                    "boxes": corners[given],
                    "labels": annotations["labels"][image][given].long(),
                    "area": annotations["area"][image][given],
                    "is_crowd": annotations["is_crowd"][image][given].long(),
                }
            )
        return targets

    def train(self, mode: bool = True) -> Self:
        """Switch to training, but keep frozen batch norms as they are."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                if self.freeze_bn_weights:
                    module.weight.requires_grad = False
                    module.bias.requires_grad = False
                if self.freeze_bn_stats:
                    module.eval()
        return self


class DetectorRegistry(Registry[BaseDetector]):
    """Detectors by name."""

    def build(
        self,
        cfg: Mapping[str, Any],
        weight_init: WeightInitialization | None = None,
        **defaults: Any,
    ) -> BaseDetector:
        """See :class:`Registry`.

        Args:
            cfg: the ``model`` section of a detector's configuration.
            weight_init: a snapshot to take weights from.
            defaults: arguments where ``cfg`` has none; ``pretrained``, most of all: start from
                COCO's weights.
        """
        if not self.takes(cfg, "pretrained"):
            defaults.pop("pretrained", None)
        detector = super().build(cfg, **defaults)
        if weight_init is not None:
            weight_init.load_into_detector(detector)
        return detector


DETECTORS = DetectorRegistry("detector")
