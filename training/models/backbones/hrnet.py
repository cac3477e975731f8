"""HRNet, from timm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from .base import BACKBONES, BaseBackbone
from .timm_networks import create_network


@BACKBONES.register_module
class HRNet(BaseBackbone):
    """Any HRNet of timm: the branch of highest resolution, or all four branches stacked.

    Args:
        stride: input pixels per cell of the first branch; 4 for every HRNet of timm.
        model_name: timm's name.
        pretrained: load timm's ImageNet weights, see :func:`create_network`.
        interpolate_branches: enlarge the other branches to the first one's size (bilinear) and
            concatenate all four, as DEKR wants.
        increased_channel_count: take the features with more channels, from timm's "incre" modules.
        options: those of :class:`BaseBackbone`.
    """

    def __init__(
        self,
        stride: int = 4,
        model_name: str = "hrnet_w32",
        pretrained: bool = False,
        interpolate_branches: bool = False,
        increased_channel_count: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(stride=stride, **options)
        self.interpolate_branches = interpolate_branches
        self.model = create_network(
            model_name,
            pretrained=pretrained,
            features_only=True,
            feature_location="incre" if increased_channel_count else "",
            # index 0 is the stem's convolution, of stride 2
            out_indices=(1, 2, 3, 4),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See :class:`BaseBackbone`."""
        return self.joined(self.model(x))

    def joined(self, branches: Sequence[torch.Tensor]) -> torch.Tensor:
        """The first branch, or all of them stacked at its size."""
        first, *others = branches
        if not self.interpolate_branches:
            return torch.as_tensor(first)
        size = first.shape[2:]
        enlarged = [functional.interpolate(y, size=size, mode="bilinear") for y in others]
        return torch.cat([first, *enlarged], dim=1)
