"""What every backbone is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import nn

from ..modules.csp import SyncedBatchNorm2d
from ..registry import Registry


class BaseBackbone(ABC, nn.Module):
    """Images to features.

    Attributes:
        stride: input pixels per feature cell.
        freeze_bn_weights: do not train weight and bias of batch norms.
        freeze_bn_stats: do not update running mean and variance of batch norms.
    """

    def __init__(
        self, stride: int | float, freeze_bn_weights: bool = True, freeze_bn_stats: bool = True
    ) -> None:
        super().__init__()
        self.stride = stride
        self.freeze_bn_weights = freeze_bn_weights
        self.freeze_bn_stats = freeze_bn_stats

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features [N, C, H / stride, W / stride] of normalised images [N, 3, H, W].

        Backbones of conditional top-down models also take ``cond_kpts`` float32 [N, 1, K, 3], the
        poses to refine.
        """

    def train(self, mode: bool = True) -> Self:
        """Switch to training, but keep frozen batch norms as they are."""
        super().train(mode)
        for module in self.modules():
            # Which are never frozen in DeepLabCut: SyncBatchNorm is no BatchNorm2d.
            if isinstance(module, SyncedBatchNorm2d):
                continue
            if isinstance(module, nn.BatchNorm2d):
                if self.freeze_bn_weights:
                    module.weight.requires_grad = False
                    module.bias.requires_grad = False
                if self.freeze_bn_stats:
                    module.eval()
        return self


BACKBONES: Registry[BaseBackbone] = Registry("backbone")


def build_backbone(cfg: Mapping[str, Any], *, pretrained: bool = False) -> BaseBackbone:
    """A backbone from its configuration, whose own ``pretrained`` does not count.

    Args:
        cfg: ``type`` and the arguments of the constructor.
        pretrained: load published weights; a backbone that has none need not take the argument.

    Raises:
        ConfigError: an unknown type, or keys that it does not take.
        UnavailableError: the weights are not here and cannot be downloaded.
    """
    own = {key: value for key, value in cfg.items() if key != "pretrained"}
    if pretrained and BACKBONES.takes(cfg, "pretrained"):
        own["pretrained"] = True
    return BACKBONES.build(own)
