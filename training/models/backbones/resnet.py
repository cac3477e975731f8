"""ResNet, from timm."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .base import BACKBONES, BaseBackbone
from .timm_networks import create_network


@BACKBONES.register_module
class ResNet(BaseBackbone):
    """Any ResNet of timm; the parameters live under ``model.``, as DeepLabCut's do.

    DeepLabCut 3.0.2's resnet_50 is timm's ``resnet50_gn``, with group norms.

    Args:
        model_name: timm's name.
        output_stride: 32, 16 or 8; below 32 the last layers are dilated.
        pretrained: load timm's ImageNet weights, see :func:`create_network`.
        drop_path_rate, drop_block_rate: regularisation while training.
        options: those of :class:`BaseBackbone`.
    """

    def __init__(
        self,
        model_name: str = "resnet50",
        output_stride: int = 32,
        pretrained: bool = False,
        drop_path_rate: float = 0.0,
        drop_block_rate: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(stride=output_stride, **options)
        self.model: Any = create_network(
            model_name,
            pretrained=pretrained,
            output_stride=output_stride,
            drop_path_rate=drop_path_rate,
            drop_block_rate=drop_block_rate,
        )
        self.model.fc = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See :class:`BaseBackbone`."""
        features: torch.Tensor = self.model.forward_features(x)
        return features
