"""What every backbone is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import nn

from ..registry import Registry


class BaseBackbone(ABC, nn.Module):
    """Images to features.

    Attributes:
        stride: input pixels per feature cell.
        freeze_bn_weights: do not train weight and bias of batch norms.
        freeze_bn_stats: do not update running mean and variance of batch norms.
        conditional: ``forward`` also takes ``cond_kpts`` float32 [N, 1, K, 3], poses to refine.
    """

    conditional: bool = False

    def __init__(
        self, stride: int | float, freeze_bn_weights: bool = True, freeze_bn_stats: bool = True
    ) -> None:
        super().__init__()
        self.stride = stride
        self.freeze_bn_weights = freeze_bn_weights
        self.freeze_bn_stats = freeze_bn_stats

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features [N, C, H / stride, W / stride] of normalised images [N, 3, H, W]."""

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


BACKBONES: Registry[BaseBackbone] = Registry("backbone")
