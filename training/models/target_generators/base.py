"""What every target generator is."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from ..registry import Registry

Targets = dict[str, dict[str, torch.Tensor]]


class BaseGenerator(ABC, nn.Module):
    """Labels to targets: for each output of a head the arguments of its criterion.

    Args:
        label_keypoint_key: which labels to read.
    """

    def __init__(self, label_keypoint_key: str = "keypoints") -> None:
        super().__init__()
        self.label_keypoint_key = label_keypoint_key

    @abstractmethod
    def forward(
        self, stride: float, outputs: dict[str, torch.Tensor], labels: dict[str, torch.Tensor]
    ) -> Targets:
        """Targets.

        Args:
            stride: input pixels per cell of the outputs.
            outputs: what the head returned; gives shapes and device.
            labels: ``keypoints`` [N, individuals, K, 3]: x, y in input pixels and visibility: > 0
                visible, 0 not labelled, -1 not defined for this image.

        Returns:
            By output name ``target`` and, where elements are weighted, ``weights``.
        """


TARGET_GENERATORS: Registry[BaseGenerator] = Registry("target generator")
